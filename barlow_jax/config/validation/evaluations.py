"""Rules on the settings of the evaluations."""

from collections.abc import Iterator

from barlow_jax.config.schema import Config, Probe


def evaluation_problems(config: Config) -> Iterator[str]:
    """Yield contradictions within the settings of the evaluations."""
    probes = {"probe": config.probe} | {
        f"transfer.{name}.probe": t.probe for name, t in config.transfer.items()
    }
    for key, probe in probes.items():
        yield from _probe_problems(f"config.{key}", probe)
    yield from _milestone_problems("config.finetune", config.finetune.milestones)


def _probe_problems(key: str, probe: Probe) -> Iterator[str]:
    yield from _milestone_problems(key, probe.milestones)
    if probe.nesterov and probe.momentum == 0:
        yield f"{key}.nesterov is true, but {key}.momentum is 0. Set a momentum above 0, or nesterov=false."
    if probe.solver == "lbfgs" and probe.augment:
        yield f"{key}.solver is lbfgs, which needs features that are computed once. Set {key}.augment=false."


def _milestone_problems(key: str, milestones: tuple[float, ...]) -> Iterator[str]:
    if list(milestones) != sorted(set(milestones)):
        yield f"{key}.milestones is {milestones}, but must be rising fractions of the epochs."
