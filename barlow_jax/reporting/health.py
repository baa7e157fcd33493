"""Health checks of a run: a severity and a sentence with the number that it comes from."""

from collections.abc import Iterator, Mapping, Sequence
import math
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.config.method_facts import method_facts
from barlow_jax.reporting import formatting, series
from barlow_jax.reporting.schema import ModelInspection, Run
from barlow_jax.training import diagnostics, verdict

OK, WARNING, FAILURE, INFO = "ok", "warning", "failure", "info"
# Metrics that count what should not happen: title, what is counted, and the topic of `Check`.
_COUNTS = {
    "skipped_steps": ("Skipped steps", "step", " with a loss or gradient that was not finite", "not_finite"),
    "decode_failures": ("Decode failures", "image", ", listed in decode_failures*.jsonl", "decode_failures"),
}


class Check(NamedTuple):
    """Result of one check."""

    severity: str
    text: str
    topic: str = ""  # what to do about it, a key of next_steps; empty if nothing


def checks(run: Run, inspection: ModelInspection | None = None) -> list[Check]:
    """Return all checks that the run's files, and its inspection if there is one, allow."""
    return [
        _state(run),
        _loss(run),
        *_embeddings(run),
        *_verdict(run),
        *ranks(inspection),
        *_counts(run),
        *_data_wait(run),
    ]


def worst(results: Sequence[Check]) -> str:
    """Return the worst severity; INFO if nothing could be judged."""
    severities = {check.severity for check in results}
    return next((severity for severity in (FAILURE, WARNING, OK) if severity in severities), INFO)


def _state(run: Run) -> Check:
    status = run.status
    if status is None:
        result = run.results.get("pretrain")
        if result and "step" in result:
            return Check(OK, f"Finished at step {result['step']:,}; status.json is missing.")
        return Check(INFO, "Unknown state: status.json is missing.")
    progress = f"step {status['step']:,} of {status['num_steps']:,}"
    if status["state"] == "finished":
        return Check(OK, f"Finished: {progress}. {status.get('reason') or ''}".rstrip())
    if status["state"] == "stopped":
        return Check(
            WARNING, f"Stopped at {progress}: {status.get('reason') or 'no reason recorded'}.", "unfinished"
        )
    updated = status.get("updated", "an unknown time")
    return Check(INFO, f"Not finished: {status['state']}, {progress}, as of {updated}.", "unfinished")


def _loss(run: Run) -> Check:
    loss = series.read(run, "loss")
    total = len(loss.values)
    if not total:
        return Check(INFO, "No loss has been recorded yet.")
    if lost := total - len(loss.finite):
        first = int(loss.steps[np.isnan(loss.values)][0])
        severity = WARNING if math.isfinite(loss.values[-1]) else FAILURE
        rows = formatting.count(total, "row")
        return Check(
            severity, f"The loss is not finite in {lost} of {rows}, first at step {first:,}.", "not_finite"
        )
    rows = f"finite in {'the only row' if total == 1 else f'all {total:,} rows'}"
    start, end = formatting.number(loss.values[0]), formatting.number(loss.values[-1])
    trend = series.trend(loss.values)
    if trend is None:
        return Check(OK, f"The loss is {rows}: {start}.")
    if trend[1] < trend[0]:
        return Check(OK, f"The loss is {rows} and fell from {start} to {end}.")
    if method_facts(str(run.config.get("objective.name"))).loss_may_rise:
        note = "With this method it may rise; judge by the k-NN accuracy."
        return Check(INFO, f"The loss is {rows} and went from {start} to {end}. {note}")
    return Check(WARNING, f"The loss is {rows} but did not fall: from {start} to {end}.", "no_fall")


def _embeddings(run: Run) -> Iterator[Check]:
    rows = [row for row in run.metrics if row.get("embedding_spread") is not None]
    if not rows:
        if run.metrics:
            yield Check(INFO, "No embeddings were measured, so collapse is not checked.")
        return
    row = {name: value for name, value in rows[-1].items() if value is not None}
    signs = diagnostics.collapse_signs(row, run.config)
    recent = rows[-diagnostics.PERSISTENT_ROWS :]
    persistent = bool(signs) and all(diagnostics.collapse_signs(row, run.config) for row in recent)
    severity = FAILURE if persistent else WARNING
    if sign := next((sign for sign in ("full", "shrinking") if sign in signs), None):
        name, value = signs[sign]
        numbers = f"{name} {formatting.number(value, 2)}, below {diagnostics.SPREAD}"
        yield Check(severity, f"{_finding(sign)} ({numbers}).", sign)
    else:
        spread = formatting.number(row["embedding_spread"], 2)
        numbers = f"spread {spread} (healthy near 1, collapse below {diagnostics.SPREAD})"
        yield Check(OK, f"The embeddings have not collapsed: {numbers}.")
    if "diagonal_mean" in row:
        yield _correlations(row, signs, severity)
    smallest, mean = row.get("embedding_std_min"), row.get("embedding_std_mean")
    if smallest is not None and mean and smallest < 1e-3 * mean:
        numbers = (
            f"standard deviation {formatting.number(smallest, 2)}, mean of all {formatting.number(mean, 2)}"
        )
        yield Check(WARNING, f"An embedding feature is nearly constant: {numbers}.", "constant_feature")


def _correlations(row: Mapping[str, float], signs: Mapping[str, Any], severity: str) -> Check:
    diagonal, off_diagonal = row["diagonal_mean"], row.get("off_diagonal_rms", math.nan)
    numbers = (
        f"mean diagonal of C {formatting.number(diagonal, 2)} (ideal 1), "
        f"off-diagonal RMS {formatting.number(off_diagonal, 2)}"
    )
    for sign in ("diagonal", "dimensional"):
        if sign in signs:
            return Check(severity, f"{_finding(sign)}: {numbers}.", sign)
    return Check(OK, f"Views agree and features differ: {numbers}.")


def ranks(inspection: ModelInspection | None) -> Iterator[Check]:
    """Yield how each effective rank changed; a warning if less than half is left of its peak in training."""
    snapshots = inspection.snapshots if inspection else ()
    for output in ("representation", "embedding"):
        spectra = [getattr(snapshot, output) for snapshot in snapshots]
        if not spectra or spectra[-1] is None:
            continue
        values = [spectrum.effective_rank for spectrum in spectra]
        first, last = values[0], values[-1]
        directions = len(spectra[-1].variance_fractions)
        text = f"Effective rank of the {output}s: {last:.1f} of {directions} directions"
        if snapshots[0].step == snapshots[-1].step:
            yield Check(INFO, f"{text}.")
            continue
        trend = "up from" if last > first else "down from"
        if abs(last - first) <= 0.05 * first:
            trend = "about the same as"
        start = "before training" if snapshots[0].step == 0 else f"at step {snapshots[0].step:,}"
        text += f", {trend} {first:.1f} {start}"
        peak, step = max((v, s.step) for v, s in zip(values, snapshots, strict=True) if s.step > 0)
        if last < 0.5 * peak:
            yield Check(
                WARNING, f"{text}, and less than half of {peak:.1f} at step {step:,}.", "effective_rank"
            )
        else:
            yield Check(INFO, f"{text}.")


def _finding(sign: str) -> str:
    name = diagnostics.NAMES[sign]
    return name[0].upper() + name[1:]


def _verdict(run: Run) -> Iterator[Check]:
    """Yield the verdict on the progress of a run whose encoder was measured; a collapse has its own check."""
    found = verdict.judge(run.metrics, run.config)
    if found.value is not None and found.state not in diagnostics.NAMES:
        severity = {"overfitting": WARNING, "saturated": OK}.get(found.state, INFO)
        yield Check(severity, found.text, "overfitting" if found.state == "overfitting" else "")


def _counts(run: Run) -> Iterator[Check]:
    for name, (title, noun, which, topic) in _COUNTS.items():
        number = series.last_value(run, name)
        number = (run.status or {}).get(name) if number is None else int(number)
        if number:
            yield Check(WARNING, f"{title}: {formatting.count(number, noun)}{which}.", topic)
        elif number == 0:
            yield Check(OK, f"{title}: none.")


def _data_wait(run: Run) -> Iterator[Check]:
    fractions = series.read(run, "data_wait_fraction").finite[1:]  # the first includes the pipeline's start
    if len(fractions):
        fraction, threshold = float(np.median(fractions)), diagnostics.DATA_WAIT_FRACTION
        text = f"Data wait: {fraction:.1%} of step time (median); warning threshold {threshold:.0%}."
        waits = fraction > threshold
        yield Check(WARNING if waits else OK, text, "data_wait" if waits else "")
