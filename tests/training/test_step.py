import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.augment.views import augment, normalize_views
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.networks.network import Network
from barlow_jax.objectives.barlow_twins import barlow_twins_loss
from barlow_jax.objectives.registry import make_objective
from barlow_jax.optim import optimizers
from barlow_jax.training.step import StepParts, compile_step, init_state
from barlow_jax.types import Batch, Objective, RunInfo


def _parts(config, layout):
    rates = optimizers.learning_rates(config, steps_per_epoch=4)
    on_device = partial(augment, recipe=config.recipe, size=config.data.image_size, seed=3)
    return StepParts(
        network=Network(config.network, layout.parallel_linear),
        objective=make_objective(config.objective, RunInfo(reshard=layout.reshard)),
        optimizer=optimizers.make_optimizer(config.optim, rates),
        normalize=partial(normalize_views, recipe=config.recipe),
        augment=on_device if config.data.augment_on == "device" else None,
        microbatches=config.train.microbatches,
    )


def _batch(config, seed=0):
    rng, rows, size = np.random.default_rng(seed), config.train.batch_size, config.data.image_size
    views = {name: rng.integers(0, 256, (rows, size, size, 3), dtype=np.uint8) for name in "ab"}
    if config.data.augment_on == "device":
        positions = np.arange(seed * rows, (seed + 1) * rows, dtype=np.uint32)
        views = {CANVAS: views["a"], SHAPE: np.full((rows, 2), size, np.int32), POSITION: positions}
    if config.network.reads_text:
        words = rng.integers(2, 30, (rows, 6), dtype=np.int32)
        views["b"] = np.where(np.arange(6) < rng.integers(1, 7, (rows, 1)), words, 0)
    return Batch(views, np.zeros(rows, np.int32), np.arange(rows, dtype=np.int32))


def _start(config, devices=None, layout=None):
    layout = layout or Layout(make_mesh(devices))
    parts = _parts(config, layout)
    init = partial(init_state, parts=parts)
    shardings = layout.state_shardings(jax.eval_shape(init, jax.random.key(0)))
    return layout, parts, jax.jit(init, out_shardings=shardings)(jax.random.key(0))


_COMPILED = {}  # steps and their initial states on the host, by config and layout: tests share them


def _run(config, devices=None, num_steps=1, layout=None):
    layout = layout or Layout(make_mesh(devices))
    if (repr(config), layout) not in _COMPILED:
        _, parts, state = _start(config, layout=layout)
        _COMPILED[repr(config), layout] = compile_step(layout, state, parts), jax.device_get(state)
    step, state = _COMPILED[repr(config), layout]
    state, history = jax.device_put(state, layout.state_shardings(state)), []
    for number in range(num_steps):
        state, metrics = step(state, layout.shard(_batch(config, number)))
        history.append(jax.device_get(metrics))
    return jax.device_get(state), history


@pytest.mark.parametrize("encoder", ["resnet8", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_one_device_and_eight_give_the_same_loss_and_gradients(small_config, typed, encoder, relative):
    """Plain SGD at rate 1 from step 0, so that the difference of the parameters is the gradient."""
    small_config.network.encoder = encoder
    small_config.train.batch_size = 64
    small_config.optim.name = "sgd"
    small_config.optim.learning_rate = 4.0
    small_config.optim.bias_learning_rate = None
    small_config.optim.warmup_epochs = small_config.optim.weight_decay = 0.0
    config = typed(small_config)
    start = jax.device_get(_start(config)[-1].params)
    (one, m1), (eight, m8) = (_run(config, jax.devices()[:n]) for n in (1, 8))
    np.testing.assert_allclose(m8[0]["loss"], m1[0]["loss"], rtol=1e-5)
    gradients = [jax.tree.map(np.subtract, start, state.params) for state in (eight, one)]
    assert relative(*gradients) < 1e-5
    assert relative(eight.batch_stats, one.batch_stats) < 1e-5


@pytest.mark.slow
def test_images_and_captions_give_one_device_and_eight_the_same(small_config, typed, relative):
    """With the sharded projectors of both branches, and in microbatches of all devices."""
    small_config.data.augment_on = "device"
    small_config.train.batch_size, small_config.train.microbatches = 64, 2
    small_config.data.canvas, small_config.data.caption_words = 8, 6
    with small_config.unlocked():
        del small_config.recipe.views["b"]
    small_config.network.branches, small_config.network.second_encoder = "own", "gru"
    text = small_config.network.text
    text.vocabulary_size, text.embedding_size, text.hidden_size = 30, 5, 16
    small_config.optim.name, small_config.optim.learning_rate = "sgd", 4.0
    small_config.optim.bias_learning_rate = None
    small_config.optim.warmup_epochs = small_config.optim.weight_decay = 0.0
    config = typed(small_config)
    start = jax.device_get(_start(config)[-1].params)
    layouts = Layout(make_mesh(jax.devices()[:1])), Layout(make_mesh(), "sharded")
    (one, m1), (eight, m8) = (_run(config, layout=layout) for layout in layouts)
    np.testing.assert_allclose(m8[0]["loss"], m1[0]["loss"], rtol=1e-5)
    gradients = [jax.tree.map(np.subtract, start, state.params) for state in (eight, one)]
    assert relative(*gradients) < 2e-5
    assert np.any(gradients[0]["second"]["encoder"]["words"]) and np.any(
        gradients[0]["encoder"]["conv"]["kernel"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize("slices", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_sharded_projector_gives_the_numbers_of_a_replicated_one(
    small_config, typed, form, slices, relative
):
    small_config.train.batch_size = 64
    small_config.optim.warmup_epochs = 0.0
    small_config.objective.form = form
    config = typed(small_config)
    mesh = make_mesh(slices=slices)
    (sharded, m1), (whole, m2) = (
        _run(config, num_steps=3, layout=Layout(mesh, projector)) for projector in ("sharded", "replicated")
    )
    np.testing.assert_allclose([m["loss"] for m in m1], [m["loss"] for m in m2], rtol=1e-5)
    assert relative(sharded.params, whole.params) < 1e-5
    assert relative(sharded.opt_state, whole.opt_state) < 1e-5


def test_the_gradient_norm_is_that_of_the_loss_of_the_global_batch(small_config, typed):
    config = typed(small_config)
    _, parts, state = _start(config, jax.devices()[:1])
    views = parts.normalize(_batch(config).views)

    def loss(params):
        z = [
            parts.network.apply(params, state.batch_stats, {name: views[name]})[0][name].embedding
            for name in "ab"
        ]
        return barlow_twins_loss(*z, off_diagonal_weight=config.objective.barlow_twins.off_diagonal_weight)

    value, gradients = jax.jit(jax.value_and_grad(loss))(state.params)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradients)))
    for devices in (jax.devices()[:1], jax.devices()):
        _, (metrics,) = _run(config, devices)
        np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
        np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-4)


def test_each_view_updates_the_running_statistics_by_itself(small_config, typed, relative):
    config = typed(small_config)
    _, parts, start = _start(config, jax.devices()[:1])
    views, stats = parts.normalize(_batch(config).views), start.batch_stats
    for name in "ab":
        _, stats = jax.jit(parts.network.apply)(start.params, stats, {name: views[name]})
    state, _ = _run(config, jax.devices()[:1])
    assert relative(state.batch_stats, jax.device_get(stats)) < 1e-6


@pytest.mark.slow
def test_the_loss_goes_down_on_one_batch(small_config, typed):
    small_config.optim.name = "adamw"
    small_config.optim.learning_rate = 0.02
    small_config.optim.warmup_epochs = 0.0
    small_config.train.num_epochs = 20.0
    config = typed(small_config)
    layout, parts, state = _start(config, jax.devices()[:1])
    step, batch, losses = compile_step(layout, state, parts), layout.shard(_batch(config)), []
    for _ in range(40):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    assert int(state.step) == 40


def test_a_step_on_the_same_topology_repeats_bit_for_bit(small_config, typed, devices):
    config = typed(small_config)
    (one, m1), (two, m2) = (_run(config, devices, num_steps=3) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, (one, m1), (two, m2))


def test_bfloat16_computation_stays_near_float32(small_config, typed):
    losses = []
    for dtype in ("float32", "bfloat16"):
        small_config.network.dtype = dtype
        state, (metrics,) = _run(typed(small_config), jax.devices()[:1])
        losses.append(metrics["loss"])
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.params))
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)


def _on_device(small_config, **train):
    """Return the config with the paper's views, augmented in the step."""
    small_config.data.augment_on = "device"
    for view in small_config.recipe.views.values():
        view.jitter.probability, view.blur.probability = 0.8, 0.5
    small_config.train.update(train)
    return small_config


@pytest.mark.slow
@pytest.mark.parametrize("microbatches", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_step_augments_by_seed_and_position(small_config, typed, microbatches):
    """The loss is the same as if the views had been prepared beforehand."""
    small_config.train.batch_size = 32
    small_config.train.microbatches = microbatches
    ready = typed(small_config)
    config = typed(_on_device(small_config))
    layout, parts, state = _start(config, jax.devices()[:1])
    augmented = jax.jit(parts.augment)
    ready_step = compile_step(layout, state, _parts(ready, layout))
    ready_state = jax.tree.map(jnp.copy, state)
    step = compile_step(layout, state, parts)
    for number in range(2):
        batch = _batch(config, number)
        views = jax.device_get(augmented(batch.views))
        assert np.mean(views["a"] != batch.views[CANVAS]) > 0.5
        state, metrics = step(state, layout.shard(batch))
        ready_state, expected = ready_step(ready_state, layout.shard(batch._replace(views=views)))
        np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-6)
        np.testing.assert_allclose(metrics["gradient_norm"], expected["gradient_norm"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("microbatches", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_device_and_eight_agree_where_the_step_augments(small_config, typed, relative, microbatches):
    config = typed(_on_device(small_config, batch_size=64, microbatches=microbatches))
    (one, m1), (eight, m8) = (_run(config, jax.devices()[:n]) for n in (1, 8))
    np.testing.assert_allclose(m8[0]["loss"], m1[0]["loss"], rtol=1e-5)
    assert relative(eight.params, one.params) < 1e-5 and relative(eight.batch_stats, one.batch_stats) < 1e-5


@pytest.mark.parametrize("microbatches", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_augmentation_is_outside_of_the_gradient_and_runs_once(small_config, typed, microbatches):
    """It runs once for all views, one microbatch at a time; its uint8 pixel values have no gradient."""
    config = typed(_on_device(small_config, batch_size=16, microbatches=microbatches))
    layout, parts, state = _start(config, jax.devices()[:1])
    traced, dtypes = [], []

    def traced_augment(images):
        traced.append({name: len(rows) for name, rows in images.items()})
        return parts.augment(images)

    def normalize(views):
        dtypes.extend(images.dtype for images in views.values())
        return parts.normalize(views)

    step = compile_step(
        layout, state, dataclasses.replace(parts, augment=traced_augment, normalize=normalize)
    )
    step.lower(state, _batch(config))
    assert traced == [dict.fromkeys((CANVAS, SHAPE, POSITION), 16 // microbatches)]
    assert len(dtypes) == 2 * (1 if microbatches == 1 else 2) and set(dtypes) == {jnp.dtype(jnp.uint8)}


# Labels in the first row that make the loss, or its gradient alone, not finite.
LOSS_POISON, GRADIENT_POISON = 99, 98


def _poisoned(objective):
    def loss(outputs, memory, context):
        value, memory, metrics = objective.loss(outputs, memory, context)
        first = context.labels[0]
        zero = value - jax.lax.stop_gradient(value)
        root = jnp.sqrt(jnp.where(first == GRADIENT_POISON, zero, 1.0))  # 0, with gradient infinity
        value = jnp.where(first == LOSS_POISON, jnp.nan, value)
        return value + 0.0 * root, memory, metrics | {"loss": value}

    return Objective(loss)


@pytest.mark.parametrize(
    "optimizer", ["lars", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "adamw"))]
)
def test_a_step_that_is_not_finite_leaves_all_but_the_step_and_is_counted(small_config, typed, optimizer):
    """The next step equals bit for bit the one after the last finite step, as if without those batches."""
    small_config.optim.name = optimizer
    small_config.optim.trust_clip = optimizer == "lars"
    small_config.optim.warmup_epochs = 0.5
    config = typed(small_config)
    layout, parts, state = _start(config, jax.devices()[:1])
    parts = dataclasses.replace(parts, objective=_poisoned(parts.objective))
    step, place = compile_step(layout, state, parts), layout.shard
    finite = [_batch(config, number) for number in range(3)]
    labels = np.repeat(finite[0].labels[None], 2, axis=0)
    labels[:, 0] = LOSS_POISON, GRADIENT_POISON
    state, _ = step(state, place(finite[0]))
    other = jax.tree.map(jnp.copy, state)
    before = jax.device_get(state)
    for skipped, row in enumerate(labels, 1):
        state, metrics = step(state, place(_batch(config, 7)._replace(labels=row)))
        assert int(metrics["skipped_steps"]) == skipped
        finite_metrics = np.isfinite([metrics["loss"], metrics["gradient_norm"]])
        assert list(finite_metrics) == ([False, True] if row[0] == LOSS_POISON else [True, False])
        after = jax.device_get(state)
        assert after.step == 1 + skipped
        jax.tree.map(np.testing.assert_array_equal, after[1:], before[1:])
    for batch in finite[1:]:
        state, metrics = step(state, place(batch))
        other, expected = step(other, place(batch))
        assert int(metrics["skipped_steps"]) == 2 and int(expected["skipped_steps"]) == 0
        assert np.asarray(metrics["loss"]).tobytes() == np.asarray(expected["loss"]).tobytes()
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state[1:]), jax.device_get(other[1:]))


def test_running_statistics_that_would_overflow_skip_the_step(small_config, typed):
    """Loss and gradient may be finite if a running variance is not: BatchNorm turns it into 0."""
    config = typed(small_config)
    layout, parts, state = _start(config, jax.devices()[:1])
    normalize = parts.normalize

    def scaled(views):  # by a power of ten that the first pixel holds
        return {name: 10.0 ** raw[0, 0, 0, 0] * normalize({name: raw})[name] for name, raw in views.items()}

    step = compile_step(layout, state, dataclasses.replace(parts, normalize=scaled))
    before = jax.device_get(state)
    for number, exponent in enumerate((18, 30), 1):
        batch = _batch(config)
        for images in batch.views.values():
            images[0, 0, 0, 0] = exponent
        state, metrics = step(state, layout.shard(batch))
        assert int(metrics["skipped_steps"]) == number
        if exponent == 18:
            assert np.isfinite([metrics["loss"], metrics["gradient_norm"]]).all()
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(state)[1:], before[1:])


@pytest.mark.parametrize("projector", [pytest.param("replicated", marks=pytest.mark.slow), "sharded"])
def test_the_state_is_updated_in_its_own_memory(small_config, typed, projector):
    """Every array but the step is returned in its input buffer."""
    small_config.train.batch_size = 64
    config = typed(small_config)
    layout, parts, state = _start(config, layout=Layout(make_mesh(), projector))
    compiled = compile_step(layout, state, parts).lower(state, layout.shard(_batch(config))).compile()
    memory = compiled.memory_analysis()
    on_one = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    assert memory.alias_size_in_bytes >= on_one - 64
