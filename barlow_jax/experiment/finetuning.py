"""Semi-supervised fine-tuning: the whole encoder and a new classifier, trained on a fraction of the labels.

The protocol of the official code: BatchNorm in training mode, SGD with one learning rate for the encoder and
one for the head, random crop and flip. The train step is that of pretraining with the classification
objective.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.config.method_facts import HEADS
from barlow_jax.config.recipe import Recipe, classifier_view
from barlow_jax.config.schema import Config, Finetune, Objective
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.distributed import same_data
from barlow_jax.errors import UserError
from barlow_jax.evals import features
from barlow_jax.evals.accuracy import accuracy_by_fraction, label_subset, make_accuracy
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.experiment.encoders import EncoderState
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.optim import optimizers
from barlow_jax.papers.scores import Score
from barlow_jax.training.loop import fit
from barlow_jax.training.prefetch import DevicePrefetcher
from barlow_jax.training.step import compile_step, init_state
from barlow_jax.types import TrainState

# SimCLR's lists of ImageNet images by label fraction, which every later paper uses.
_LISTS = {"imagenet2012": {0.01: "imagenet2012_subset/1pct", 0.1: "imagenet2012_subset/10pct"}}


def finetune(
    config: Config, encoder: EncoderState, fractions: Sequence[float]
) -> tuple[list[Score], dict[str, Any]]:
    """Fine-tune a copy of the encoder with each of these fractions of the labels.

    Returns:
      The scores of `accuracy.make_accuracy` after the last epoch, the entry "data" of a result, and
      `features.decode_failure_counts` of this process; for the training split the highest count of any
      fraction.

    Raises:
      UserError: the data allow no accuracy.
    """
    lists = _LISTS.get(config.data.name, {})
    test = same_data.open_split(config.data, config.data.eval_split)
    scores, train_failures, data_record = [], 0, {}
    for fraction in fractions:
        data = dataclasses.replace(config.data, name=lists.get(fraction, config.data.name))
        train = same_data.open_split(data, data.train_split)
        evaluated = EvaluationData(config.data, train, test).check_labels()
        if not data_record:
            labels = train.read_labels(), test.read_labels()
            labeled = [np.flatnonzero(of_split >= 0) for of_split in labels]
            known = (of_split[rows] for of_split, rows in zip(labels, labeled, strict=True))
            data_record = evaluated.record(*known, evaluated.own_rows(*labeled))
        fraction_of_split = 1.0 if fraction in lists else fraction
        for score in _finetune(config, fraction_of_split, train, test, encoder):
            scores.append(dataclasses.replace(score, label_fraction=fraction))
        train_failures = max(train_failures, len(train.decode_failures))
    counts = features.decode_failure_counts(train_failures, len(test.decode_failures))
    return scores, {"data": data_record, **counts}


def classifier_config(config: Config, num_classes: int, batch_size: int) -> Config:
    """Return the config of a classifier on the same encoder."""
    return dataclasses.replace(
        config,
        recipe=Recipe({"a": classifier_view(config.recipe.views["a"])}),
        data=dataclasses.replace(config.data, caption_words=0),
        network=dataclasses.replace(
            config.network, branches="shared", second_encoder=None, **HEADS | {"num_classes": num_classes}
        ),
        objective=Objective(name="classification"),
        train=dataclasses.replace(config.train, batch_size=batch_size, microbatches=1),
        mesh=dataclasses.replace(config.mesh, projector="replicated"),
    )


def _finetune(
    config: Config, fraction: float, train: splits.Split, test: splits.Split, encoder: EncoderState
) -> list[Score]:
    """Return the scores of one fraction, the mean over its subsets."""
    labels = train.read_labels()
    num_images = len(label_subset(labels, fraction, seed=0))  # the same for every seed
    batch_size = _batch_size(config.finetune, num_images)
    experiment = Experiment.from_config(classifier_config(config, int(labels.max()) + 1, batch_size))
    config, layout = experiment.config, experiment.layout
    sampler = EpochSampler(config.seed, num_images, batch_size)
    optimizer = optimizers.make_finetune_optimizer(config.finetune, sampler.steps_per_epoch)
    parts = dataclasses.replace(experiment.step_parts(sampler), optimizer=optimizer)
    init = experiment.jit_once(partial(init_state, parts=parts))
    step = compile_step(layout, jax.eval_shape(init, jax.random.key(0)), parts)
    encode, num_steps = experiment.jitted_encoder(), config.finetune.num_epochs * sampler.steps_per_epoch
    num_tested = 0

    def measure(rows: np.ndarray, seed: int) -> dict[str, float]:
        """Train from the encoder and a new head; the seed sets the head, the order and the augmentation."""
        nonlocal num_tested
        state = init(jax.random.key(seed))
        # The step donates its input, and the next repeat starts from the encoder again: train a copy.
        params, stats = jax.tree.map(jnp.copy, (encoder.params, encoder.batch_stats))
        state = state._replace(params=state.params | params, batch_stats=state.batch_stats | stats)
        order = dataclasses.replace(sampler, seed=sampler.seed + seed)
        sample_range = SampleRange(order, 0, num_steps, experiment.shard, rows)
        batches = train.train_batches(config.data, config.recipe.views, sample_range)
        with contextlib.closing(DevicePrefetcher(batches, layout.shard)) as device_batches:
            state = fit(step, state, device_batches, num_steps=num_steps)
        values, num_tested = _test(experiment, partial(encode, *state.encoder()), state, test)
        return values

    repeats = config.finetune.subset_repeats
    (result,) = accuracy_by_fraction(labels, [fraction], repeats, measure)
    measured_on = (config.data.name, config.data.eval_split, num_tested)
    return [
        Score("finetune", "finetuned", metric, value, *measured_on, repeats=result.repeats)
        for metric, value in result.values.items()
    ]


def _batch_size(settings: Finetune, num_images: int) -> int:
    devices = jax.device_count()
    batch_size = min(settings.batch_size, num_images) // devices * devices
    if batch_size < 2:
        raise UserError(
            f"config.finetune.label_fractions leaves {num_images} images, too few for a batch on {devices} "
            "devices; use a larger fraction"
        )
    return batch_size


def _test(
    experiment: Experiment, encode: features.Encode, state: TrainState, test: splits.Split
) -> tuple[dict[str, float], int]:
    """Return accuracies in 0..1, in evaluation mode, and the number of test images."""
    table = features.extract(encode, experiment.eval_batches(test), experiment.layout).labeled()
    head = jax.device_get(state.params["classifier"]["layer"])
    accuracy = make_accuracy(table)
    return accuracy({"weight": head["kernel"], "bias": head["bias"]}), len(table.labels)
