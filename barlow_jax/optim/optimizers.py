"""Optimizers of a config: the official LARS, SGD and AdamW, with a learning rate per parameter group."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import optax

from barlow_jax.config import parts
from barlow_jax.config.schema import Config, Finetune, Optim
from barlow_jax.optim import param_groups
from barlow_jax.optim.lars import lars
from barlow_jax.optim.schedules import epoch_factors, warmup_cosine


def learning_rates(config: Config, steps_per_epoch: int, offset: int = 0) -> dict[str, optax.Schedule]:
    """Return each parameter group's learning rate as a function of the step.

    Peak rates are multiplied by batch_size / 256. `offset` is added to the step
    (`EpochSampler.schedule_offset`).
    """
    optim, train = config.optim, config.train
    schedule = warmup_cosine
    if optim.schedule != "warmup_cosine":
        schedule = partial(parts.call, optim.schedule, parts.find("schedule", optim.schedule))
    bias_rate = optim.learning_rate if optim.bias_learning_rate is None else optim.bias_learning_rate
    rates = {
        group: schedule(
            peak=rate * train.batch_size / 256,
            warmup_steps=round(optim.warmup_epochs * steps_per_epoch),
            num_steps=round(train.num_epochs * steps_per_epoch),
            final_scale=optim.final_scale,
        )
        for group, rate in ((param_groups.WEIGHTS, optim.learning_rate), (param_groups.BIASES, bias_rate))
    }
    if not offset:
        return rates
    return {group: lambda step, rate=rate: rate(step + offset) for group, rate in rates.items()}


def make_optimizer(config: Optim, rates: dict[str, optax.Schedule]) -> optax.GradientTransformation:
    """Build the optimizer of a config from one learning rate per parameter group."""
    if config.grad_scale != 1:
        unscaled = make_optimizer(dataclasses.replace(config, grad_scale=1.0), rates)
        return optax.chain(optax.scale(config.grad_scale), unscaled)
    if config.name not in parts.SHIPPED["optimizer"]:
        own = parts.call(config.name, parts.find("optimizer", config.name), config)
        return optax.chain(own, param_groups.scale_by_learning_rates(rates))
    if config.name == "lars":
        return lars(
            rates,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            trust_coefficient=config.trust_coefficient,
            trust_clip=config.trust_clip,
        )
    decay = optax.masked(optax.add_decayed_weights(config.weight_decay), param_groups.is_weight)
    scale = param_groups.scale_by_learning_rates(rates)
    if config.name == "sgd":
        return optax.chain(decay, optax.trace(config.momentum), scale)
    return optax.chain(optax.scale_by_adam(b1=config.momentum), decay, scale)


def num_updates(opt_state: optax.OptState) -> jax.Array:
    """Return the number of updates done, `[]` int32, from the state of an optimizer of `make_optimizer`."""
    return optax.tree.get_all_with_path(opt_state, "count")[0][1]


def make_finetune_optimizer(config: Finetune, steps_per_epoch: int) -> optax.GradientTransformation:
    """Build SGD with separate learning rates for encoder and classifier, which change once per epoch."""
    factors = jnp.asarray(
        epoch_factors(config.schedule, config.num_epochs, milestones=config.milestones, decay=config.decay)
    )
    peaks = {"encoder": config.encoder_learning_rate, "classifier": config.head_learning_rate}
    rates = {
        name: lambda step, peak=peak: peak * factors[step // steps_per_epoch] for name, peak in peaks.items()
    }
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay),
        optax.trace(config.momentum),
        param_groups.scale_by_learning_rates(rates, param_groups.part_names),
    )
