"""Next steps: for each finding of the report its number, the reason, and a command."""

from collections.abc import Iterator, Sequence
import math
import shlex
from typing import Any, NamedTuple

from markupsafe import Markup

from barlow_jax.config import reference
from barlow_jax.papers.scores import PRETRAINED, UNTRAINED, read_evaluations
from barlow_jax.reporting import formatting, health, rendering
from barlow_jax.reporting.evaluation_section import seed_groups
from barlow_jax.reporting.schema import ModelInspection, Run
from barlow_jax.reporting.summary_section import headline_scores, quality
from barlow_jax.training import verdict
from barlow_jax.training.diagnostics import remedy
from barlow_jax.workdir import selection


class Step(NamedTuple):
    """One thing to do."""

    finding: str  # with its number
    action: str  # what to do, and why
    command: str


def render(runs: Sequence[Run], inspection: ModelInspection | None) -> Markup:
    """Return the section; `inspection` belongs to the first run."""
    seeds = {run.name: len(group) for group in seed_groups(runs).values() for run in group}
    steps = {
        run.name: next_steps(run, None if i else inspection, seeds[run.name]) for i, run in enumerate(runs)
    }
    return rendering.render("next.html", steps=steps)


def next_steps(run: Run, inspection: ModelInspection | None = None, seeds: int = 1) -> list[Step]:
    """Return what to do, the most urgent first: training, input, quality, use."""
    checks = [*health.checks(run, inspection), *quality(run)]
    by_topic = {check.topic: check for check in reversed(checks) if check.topic}  # the first of each topic
    topics = dict.fromkeys(check.topic for check in checks if check.topic)
    steps = [Step(by_topic[topic].text, *_remedy(run, topic, inspection)) for topic in topics]
    steps += _monitor(run, "unfinished" in topics)
    return steps or list(_use(run, seeds))


def _remedy(run: Run, topic: str, inspection: ModelInspection | None) -> tuple[str, str]:
    """Return what to do about a finding, and the command."""
    steps = [s.step for s in inspection.snapshots if s.step > 0] if inspection else [0]
    earlier = f"{run.workdir}/checkpoints/{steps[(len(steps) - 1) // 2]}"
    commands = {
        "resume": formatting.command("pretrain", run.workdir),
        "cached": formatting.command("pretrain", run.workdir, "--config.data.cache=encoded"),
        "longer": _longer(run),
        "lower_rate": _again(run, "lower_rate", "optim.learning_rate", 0.5),
        "decorrelate": _again(run, "decorrelated", "objective.barlow_twins.off_diagonal_weight", 2),
        "on_device": _again(run, "on_device", "data.augment_on", "device"),
        "show_views": formatting.command("show-views", run.workdir),
        "evaluate": formatting.command("evaluate", run.workdir),
        "earlier": formatting.command("evaluate", run.workdir, "--encoder", earlier),
        "list_failures": shlex.join(["cat", f"{run.workdir}/decode_failures.jsonl"]),
    }
    if topic == "data_wait" and run.config.get("data.augment_on") != "host":
        topic = "data_wait_on_device"
    action, command = rendering.read_data("remedies.toml")[topic]
    return action or remedy(topic, run.config.get("objective.name", "")), commands[command]


def _monitor(run: Run, unfinished: bool) -> Iterator[Step]:
    """Yield what follows from the metric that selects checkpoints: use the best one, or train longer."""
    metric, by_step = selection.scores(run.metrics, run.config.get("monitor.select_by", "auto"))
    if len(by_step) < 2:
        return
    last, best = by_step[max(by_step)], max(by_step.values())
    found = verdict.judge(run.metrics, run.config)
    if last < best - 2 * verdict.change(metric, best):
        finding = f"{metric} during training: {best:.4g} at best, {last:.4g} at the end."
        flags = "--checkpoint", "best", "--format", "orbax", "--out", f"{run.workdir}/best"
        yield Step(finding, "Use the best checkpoint:", formatting.command("export", run.workdir, *flags))
    elif found.state == "undertrained" and not unfinished:
        yield Step(found.text, "Train longer:", _longer(run))


def _use(run: Run, seeds: int) -> Iterator[Step]:
    """Yield what to do with a run that has no problem, of a recipe with this many seeds in the report."""
    for headline in headline_scores(run)[-1:]:
        score, untrained = headline.values.get(PRETRAINED), headline.values.get(UNTRAINED)
        scores = read_evaluations(run.results)[PRETRAINED].scores
        number = next(
            s.num_images for s in scores if (s.command, s.metric) == (headline.score.command, "top1")
        )
        fraction = (score * number / 100 + 2) / (number + 4)  # Agresti and Coull 1998: not 0 at 100 %
        error = 100 * math.sqrt(fraction * (1 - fraction) / (number + 4))
        if seeds == 1:
            finding = f"{score:.1f}% ({headline.name}) with one seed, on {number:,} images."
            action = f"The standard error is {error:.1f} points. Repeat the run with another seed:"
            seed = (run.config.get("seed") or 0) + 1
            yield Step(finding, action, _again(run, f"seed{seed}", "seed", seed))
        finding = f"{score - untrained:.1f} points above the untrained encoder ({headline.name})."
        action = "Use the encoder: write the features of your own images, with their nearest neighbors:"
        flags = "--images", "FOLDER", "--out", "features.npz", "--nearest", "5"
        yield Step(finding, action, formatting.command("embed", run.workdir, *flags))


def _longer(run: Run) -> str:
    epochs = reference.format_value(2.0 * run.config.get("train.num_epochs", math.nan))
    return formatting.command("pretrain", run.workdir, "--extend", f"--config.train.num_epochs={epochs}")


def _again(run: Run, suffix: str, key: str, value: Any) -> str:
    """Return the command of the same run in a new workdir, with one key changed; numbers are factors."""
    old = run.config.get(key)
    if isinstance(old, int | float) and isinstance(value, int | float) and key != "seed":
        value = reference.format_value(float(old * value))
    flags = [f"--workdir={run.workdir}_{suffix}", f"--config.{key}={value}"]
    for entry in run.provenance:
        command = list(map(str, entry.get("command") or ()))
        if "--config" in command and "--workdir" in command:
            index = command.index("--workdir")
            return shlex.join(["python", "-m", "barlow_jax", *command[:index], *command[index + 2 :], *flags])
    return shlex.join(["python", "-m", "barlow_jax", "pretrain", "--config", "CONFIG.py", *flags])
