"""DeepCluster-v2 (Caron et al. 2020, section 5 of SwAV): predict the cluster of an image's other embeddings.

H clusterings of all images, each with K centroids c_k on the unit sphere, label each image i with its cluster
y_hi. For the embeddings z of V views, on the unit sphere:

    L = -1/(H V N) sum_hvb log( exp(c_(y_hi) . z_vb / t) / sum_k exp(c_k . z_vb / t) )

The steps of an epoch fill a memory with the embeddings of views a and b of every image. After the epoch each
clustering is renewed from them by spherical k-means: from K random images, by turns those of view a and of
view b,

    y_i = argmax_k c_k . z_i,    c_k = unit(mean of z_i with y_i = k);    an empty cluster keeps its centroid

Centroids have no gradient. In the first epoch there are no clusters yet: it only fills the memory, its loss
is 0, and weight decay alone moves the parameters (the official code makes a pass over the data instead).
Images that do not fill the last batch of an epoch keep their embeddings of an earlier epoch, and have no
label before the first; in the official code they have none.

SeLa's assignments (Asano et al. 2020), with `sinkhorn_epsilon`: an iteration assigns the images by
Sinkhorn-Knopp over the whole memory, so that all clusters have about the same size. SeLa's own scores come
from a classifier that is trained; here, as in DeepCluster-v2, they are the cosines with the centroids.

DeepCluster's classifier (Caron et al. 2018), with `classifier_learning_rate` r: the logits are W z_vb + u, of
the embedding as it is, instead of c . z / t. Each clustering draws W from N(0, 0.01^2) and sets u = 0; SGD
without momentum, W <- W - r B/256 dL/dW, trains them next to the network. They are part of the memory. The
official code samples images so that clusters are equally frequent, has a weight decay of 1e-5 on W, and
whitens what it clusters by a PCA; here there is none of the three.
"""

from functools import partial

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Deepcluster
from barlow_jax.config.recipe import FULL_VIEWS
from barlow_jax.losses import clustering, memory_bank
from barlow_jax.losses.contrastive import LossAndAccuracy, similarities
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Grouping, Objective, RunInfo


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all views.

    Its memory is {"bank_a", "bank_b": `[R, D]` unit rows, 0 before the first; "labels": `[R, H]` int32
    clusters, -1 if there is none; "centroids": `[H, K, D]`}. A trained classifier has "weights", `[H, K, D]`,
    and "biases", `[H, K]`, instead of the centroids.

    Raises:
      UserError: If there are more clusters than images in an epoch.
    """
    settings = config.deepcluster
    clustering.check_clusters("config.objective.deepcluster.clusters", settings.clusters, run_info)
    is_trained = settings.classifier_learning_rate is not None
    learning_rate = (settings.classifier_learning_rate or 0) * run_info.batch_size / 256
    shape = settings.heads, settings.clusters, run_info.width
    parts = {"weights": shape, "biases": shape[:2]} if is_trained else {"centroids": shape}

    def loss(outputs, memory, context):
        labels = memory["labels"][context.index]  # [B, H]
        embeddings = {name: outputs[name].embedding for name in run_info.views}
        units = {name: unit_rows(z) for name, z in embeddings.items()}
        inputs = list((embeddings if is_trained else units).values())
        classifier = jax.lax.stop_gradient({name: memory[name] for name in parts})
        value, accuracy = _classify(classifier, inputs, labels, settings.temperature)
        new = {
            _bank(name): memory_bank.write(memory[_bank(name)], context.index, units[name])
            for name in FULL_VIEWS
        }
        if is_trained:
            gradient = jax.grad(lambda *args: _classify(*args).loss)(
                classifier, jax.lax.stop_gradient(inputs), labels, settings.temperature
            )
            new |= jax.tree.map(lambda w, g: w - learning_rate * g, classifier, gradient)
        metrics = {"loss": config.scale * value, "cluster_accuracy": accuracy}
        metrics |= embedding_statistics([embeddings[name] for name in FULL_VIEWS], unit_length=True)
        return config.scale * value, memory | new, metrics

    def init_memory(key):
        rows = memory_bank.num_rows(run_info.num_images)
        shapes = parts | {_bank(name): (rows, run_info.width) for name in FULL_VIEWS}
        memory = {name: jnp.zeros(shape) for name, shape in shapes.items()}
        return memory | {"labels": jnp.full([rows, settings.heads], -1, jnp.int32)}

    return Objective(
        loss,
        grouping=Grouping(encoder="size", heads="together"),
        init_memory=init_memory,
        refresh=partial(_refresh, settings=settings),
        refresh_every=run_info.steps_per_epoch,
    )


def _refresh(memory: dict[str, jax.Array], key: jax.Array, settings: Deepcluster) -> dict[str, jax.Array]:
    """Cluster the banks again, by turns."""
    epsilon = settings.sinkhorn_epsilon
    offsets = None if epsilon is None else partial(clustering.balanced_offsets, epsilon=epsilon)
    banks = [memory[_bank(FULL_VIEWS[head % len(FULL_VIEWS)])] for head in range(settings.heads)]
    results = [
        clustering.kmeans(
            jax.random.fold_in(key, head), bank, settings.clusters, settings.iterations, offsets=offsets
        )
        for head, bank in enumerate(banks)
    ]
    centroids, labels = zip(*results, strict=True)
    memory = memory | {"labels": jnp.stack(labels, axis=1)}
    if settings.classifier_learning_rate is None:
        return memory | {"centroids": jnp.stack(centroids)}
    weights = 0.01 * jax.random.normal(jax.random.fold_in(key, settings.heads), memory["weights"].shape)
    return memory | {"weights": weights, "biases": jnp.zeros_like(memory["biases"])}


def _classify(
    classifier: dict[str, jax.Array], embeddings: list[jax.Array], labels: jax.Array, temperature: float
) -> LossAndAccuracy:
    """Return L, and the fraction of embeddings whose own cluster has the largest logit.

    Args:
      classifier: {"centroids"}, or {"weights", "biases"}: the entries of the memory.
      embeddings: `[B, D]` by view; unit rows for centroids.
      labels: `[B, H]`.
      temperature: t, of the centroids.
    """
    terms = []
    for z in embeddings:
        for head in range(labels.shape[1]):
            if "centroids" in classifier:
                logits = similarities(z, classifier["centroids"][head]) / temperature
            else:
                logits = similarities(z, classifier["weights"][head]) + classifier["biases"][head, None]
            terms.append(clustering.cross_entropy(logits, labels[:, head]))
    return LossAndAccuracy(*(sum(values) / len(terms) for values in zip(*terms, strict=True)))


def _bank(view: str) -> str:
    return f"bank_{view}"
