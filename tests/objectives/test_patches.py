"""Methods on patches: definitions in float64 NumPy, the joint head, and steps on one device and eight."""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from barlow_jax.augment.patches import cut_patches
from barlow_jax.augment.views import normalize_views
from barlow_jax.config import schema as config_lib
from barlow_jax.config.method_facts import METHODS
from barlow_jax.config.methods import Jigsaw, Pirl
from barlow_jax.config.recipe import PATCHES
from barlow_jax.config.validation import Facts, validate
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.networks import encoders
from barlow_jax.networks.network import Network
from barlow_jax.objectives.jigsaw import permutations
from barlow_jax.objectives.registry import make_objective
from barlow_jax.optim import optimizers
from barlow_jax.training.step import StepParts, compile_step, init_state
from barlow_jax.types import Batch, Grouping, LossContext, Outputs, RunInfo

KEY = jax.random.key(3)
ROWS, WIDTH, IMAGES = 16, 8, 100
INDEX = np.array([7, 99, *range(10, 23), 7], np.int32)
INFO = RunInfo(("a", "b"), WIDTH, ROWS, IMAGES)


class PooledEncoder(nnx.Module):
    """Linear layer on each pixel, a nonlinearity and the mean: no BatchNorm, any size of views."""

    def __init__(self, config, norm, rngs, **image):
        self.layer = nnx.Linear(3, encoders.representation_width(config, **image), rngs=rngs)

    def __call__(self, x, *, train):
        return jnp.tanh(self.layer(x)).mean(axis=(1, 2))


def test_patches_lie_anywhere_in_their_cells_and_nowhere_else():
    images = np.arange(200 * 25 * 25, dtype=np.int32).reshape(200, 25, 25, 1)
    cells = np.random.default_rng(0).permuted(np.tile(np.arange(9), (200, 1)), axis=1)
    patches = cut_patches(KEY, images, cells)
    corners = []
    for number, name in enumerate(PATCHES):
        patch = np.asarray(patches[name])
        assert patch.shape == (200, 6, 6, 1)  # cells of 8 of 25 pixels
        top, left = np.divmod(patch[:, 0, 0, 0] % 625, 25)
        for image, rows in enumerate(patch):
            expected = images[image, top[image] : top[image] + 6, left[image] : left[image] + 6]
            np.testing.assert_array_equal(rows, expected)
        row, column = np.divmod(cells[:, number], 3)
        corners += [*(top - 8 * row), *(left - 8 * column)]
    counts = np.bincount(corners, minlength=3)
    assert len(counts) == 3 and np.all(abs(counts / 1200 - 1) < 0.1)


@pytest.mark.parametrize("count", [20, 2000])
def test_permutations_have_the_largest_mean_distance(count):
    table = permutations(count)
    assert len(np.unique(table, axis=0)) == count
    np.testing.assert_array_equal(np.sort(table, axis=1), np.tile(np.arange(9), (count, 1)))
    for place in range(9):  # the sum of the distances is largest if each cell is equally often in each place
        counts = np.bincount(table[:, place], minlength=9)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("method", "classes"), [("jigsaw", 30), ("context_prediction", 8)])
def test_the_label_is_the_order_of_the_patches(method, classes):
    config = config_lib.Objective(name=method, scale=2.0, jigsaw=Jigsaw(permutations=30))
    objective, images = make_objective(config), np.zeros((ROWS, 12, 12, 1), np.int32)
    for cell in range(9):
        images[:, cell // 3 * 4 : cell // 3 * 4 + 4, cell % 3 * 4 : cell % 3 * 4 + 4] = cell
    views = objective.derive({"a": images}, KEY)
    orders = np.stack([np.asarray(view)[:, 0, 0, 0] for view in views.values()], axis=1)
    if method == "jigsaw":
        table = permutations(30)
    else:
        table = np.array([(4, cell) for cell in (0, 1, 2, 3, 5, 6, 7, 8)])
    labels = np.array([np.flatnonzero((table == order).all(1))[0] for order in orders])
    assert len(set(labels)) > 4
    logits = np.random.default_rng(0).normal(size=(ROWS, classes)).astype(np.float32)
    outputs = {name: Outputs(None) for name in views} | {"patch0": Outputs(None, joint=jnp.asarray(logits))}
    loss, _, metrics = objective.loss(outputs, {}, LossContext(jnp.full(ROWS, -1), key=KEY))
    probabilities = np.asarray(jax.nn.softmax(logits.astype(np.float64)))
    np.testing.assert_allclose(loss, 2 * log_loss(labels, probabilities, labels=range(classes)), rtol=1e-6)
    assert metrics["top1"] == np.mean(logits.argmax(1) == labels)


def _unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def _pirl_loss(bank, image, patches, settings, z=None):
    """Equation 5 and the official code, in float64, and NCE's constant Z, by default that of the patches."""
    total = 0.0
    for v, weight, number in ((patches, settings.patch_weight, 2), (image, 1 - settings.patch_weight, 3)):
        logits = _unit(v) @ bank[:IMAGES].T / settings.temperature
        own = logits[np.arange(ROWS), INDEX]
        sample = jax.random.randint(jax.random.fold_in(KEY, number), [settings.negatives], 0, IMAGES)
        sample = np.asarray(sample) if settings.negatives else np.arange(IMAGES)
        if settings.loss == "softmax":
            others = np.where(INDEX[:, None] == sample, 0, np.exp(logits[:, sample]))
            terms = np.log(np.exp(own) + others.sum(1)) - own
        else:
            scores = np.exp(np.concatenate([own[:, None], logits[:, sample]], 1))
            z = z or IMAGES * scores.mean()
            p, noise = scores / z, settings.negatives / IMAGES
            terms = -np.log(p[:, 0] / (p[:, 0] + noise)) - np.log(noise / (p[:, 1:] + noise)).sum(1)
        total += weight * np.mean(terms)
    return total, z


@pytest.mark.parametrize(
    "settings",
    [
        Pirl(temperature=0.2, negatives=0, momentum=0.75),
        Pirl(negatives=40, patch_weight=0.3),
        Pirl(negatives=40, loss="nce", temperature=0.5),
    ],
)
def test_pirl_is_two_comparisons_with_the_bank(settings, devices):
    objective = make_objective(config_lib.Objective(name="pirl", pirl=settings), INFO)
    memory, layout = objective.init_memory(KEY), Layout(make_mesh(devices))
    bank = np.asarray(memory["bank"], np.float64)
    np.testing.assert_allclose(np.linalg.norm(bank, axis=1), 1, rtol=1e-6)
    image, patches = np.random.default_rng(0).normal(size=(2, ROWS, WIDTH)).astype(np.float32)

    def loss(embeddings, memory, index):
        image, patches = embeddings
        outputs = {"a": Outputs(None, image), "patch0": Outputs(None, joint=patches)}
        value, memory, _ = objective.loss(outputs, memory, LossContext(None, key=KEY, index=index))
        return value, memory

    memory = jax.device_put(memory, layout.state_shardings({"memory": memory})["memory"])
    arrays, index = jax.device_put(((image, patches), INDEX), layout.batch)
    (value, new), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(arrays, memory, index)
    expected, z = _pirl_loss(bank, image, patches, settings)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    direction = np.random.default_rng(1).normal(size=(2, ROWS, WIDTH))
    above, below = (
        _pirl_loss(bank, image + step * direction[0], patches + step * direction[1], settings, z)[0]
        for step in (1e-5, -1e-5)
    )
    np.testing.assert_allclose(np.vdot(gradients, direction), (above - below) / 2e-5, rtol=1e-3)
    m = settings.momentum  # the bank moves towards the image alone, and for a repeated index once
    bank[INDEX[:-1]] = _unit(m * bank[INDEX[:-1]] + (1 - m) * _unit(image[:-1]))
    np.testing.assert_allclose(new["bank"], bank, atol=1e-6)


def test_the_joint_head_is_an_mlp_of_each_patch_and_a_layer_of_all(small_config, typed):
    small_config.network.joint_head, small_config.network.projector_biases = (6, 5, 4), "all"
    config = typed(small_config).network
    network = Network(config, make_encoder=PooledEncoder, joint_views=PATCHES[:3])
    params, stats = network.init(KEY)
    images = np.random.default_rng(0).normal(size=(4, ROWS, 4, 4, 3)).astype(np.float32)
    views = dict(zip(("a", *PATCHES[:3]), images, strict=True))
    outputs, new = network.apply(params, stats, views, Grouping(encoder="size"))
    first, second = (jax.tree.map(np.float64, params["joint_mlp"]["layers"][layer]) for layer in (0, 1))
    last = jax.tree.map(np.float64, params["joint_head"]["layers"][0])
    representations = [np.asarray(outputs[name].representation, np.float64) for name in PATCHES[:3]]
    hidden = [x @ first["kernel"] + first["bias"] for x in representations]
    mean, var = np.mean(hidden, axis=(0, 1)), np.var(hidden, axis=(0, 1))  # all patches share BatchNorm
    each = [
        np.maximum((h - mean) / np.sqrt(var + 1e-5), 0) @ second["kernel"] + second["bias"] for h in hidden
    ]
    expected = np.concatenate(each, axis=1) @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(outputs["patch0"].joint, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["joint_mlp"]["norms"][0]["mean"], 0.1 * mean, rtol=1e-4, atol=1e-6)
    assert outputs["a"].joint is None and outputs["patch1"].joint is None
    assert outputs["patch0"].embedding is None and outputs["a"].embedding.shape[1] == config.projector[-1]


def _patch_config(small_config, method):
    """Set a small config of the method."""
    facts, network = METHODS[method], small_config.network
    small_config.objective.name, small_config.optim.name = method, "adamw"
    small_config.objective.jigsaw.permutations, small_config.objective.pirl.negatives = 30, 20
    network.projector = (WIDTH,) if method == "pirl" else ()
    network.joint_head = (6, {"pirl": WIDTH, "jigsaw": 30, "context_prediction": 8}[method])
    network.projector_batch_norm, small_config.optim.warmup_epochs = False, 0.0
    for name in facts.views:
        small_config.recipe.views[name].crop.size = 12
    if facts.views == ("a",):
        with small_config.unlocked():
            del small_config.recipe.views["b"]


@pytest.mark.parametrize("method", ["pirl", "jigsaw", "context_prediction"])
def test_steps_agree_on_one_device_and_eight_and_in_microbatches(small_config, typed, method):
    _patch_config(small_config, method)
    config, rng, facts = typed(small_config), np.random.default_rng(0), METHODS[method]
    assert not validate(config, Facts(num_devices=8))
    views = {name: rng.integers(0, 256, (ROWS, 12, 12, 3), np.uint8) for name in facts.views}
    batch, results = Batch(views, np.full(ROWS, -1), INDEX), []
    for number, microbatches in ((1, 1), (8, 1), (1, 2)):
        layout = Layout(make_mesh(jax.devices()[:number]))
        parts = StepParts(
            network=Network(config.network, make_encoder=PooledEncoder, joint_views=facts.joint_views),
            objective=make_objective(config.objective, INFO),
            optimizer=optimizers.make_optimizer(config.optim, optimizers.learning_rates(config, 4)),
            normalize=partial(normalize_views, recipe=config.recipe),
            microbatches=microbatches,
        )
        state = jax.device_get(jax.jit(partial(init_state, parts=parts))(jax.random.key(0)))
        step = compile_step(layout, state, parts)
        after, metrics = jax.device_get(
            step(jax.device_put(state, layout.state_shardings(state)), layout.shard(batch))
        )
        results.append((metrics["loss"], metrics["gradient_norm"], after.memory))
        changed = jax.tree.map(lambda old, new: np.any(old != new), state.params, after.params)
        assert all(jax.tree.leaves(changed))  # the gradient reaches every part
    for other in results[1:]:
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), other, results[0])


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("pirl", "config.network.joint_head", (6, 7)),  # not the bank's width
        ("pirl", "config.network.joint_head", ()),
        ("jigsaw", "config.network.joint_head", (6, 31)),
        ("context_prediction", "config.network.joint_head", (6, 9)),
        ("simclr", "config.network.joint_head", (6, WIDTH)),
        ("pirl", "config.recipe.views.b.crop.size", 11),
        ("jigsaw", "config.recipe.views.a.crop.size", 11),
    ],
)
def test_heads_and_views_that_do_not_fit_are_problems(small_config, typed, method, key, value):
    _patch_config(small_config, method if METHODS[method].joint_views else "pirl")
    small_config.objective.name = method
    *path, last = key.split(".")[1:]
    group = small_config
    for name in path:
        group = group[name]
    group[last] = value
    assert any(key in problem for problem in validate(typed(small_config), Facts(num_devices=8)))


def test_nce_needs_negatives_and_the_head_alone_is_refused(small_config, typed):
    with pytest.raises(UserError, match=r"pirl\.negatives"):
        make_objective(config_lib.Objective(name="pirl", pirl=Pirl(loss="nce", negatives=0)), INFO)
    _patch_config(small_config, "pirl")
    experiment = Experiment.from_config(typed(small_config))
    with pytest.raises(UserError, match="--part step"):
        lowering.lower(experiment, experiment.sampler(1437), "head")
