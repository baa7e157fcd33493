"""Is a run healthy: what its numbers say, in words."""

from collections.abc import Iterator
import math
from typing import NamedTuple

import numpy as np

from barlow_jax.report import formatting, series
from barlow_jax.report.schema import ModelInspection, Run
from barlow_jax.training import diagnostics

GOOD, LOOK, BAD, NONE = "good", "look", "bad", "none"
# Terms against a moving network, or a queue of what it said: their loss may well rise while the run learns.
_LOSS_MAY_RISE = ("byol", "moco", "simsiam", "swav")
_LASTS = 5  # rows


class Check(NamedTuple):
    """A verdict and the numbers that it comes from."""

    sign: str
    words: str


def checks(run: Run, look: ModelInspection | None = None) -> list[Check]:
    return [
        _state(run),
        _loss(run),
        *_embeddings(run),
        *_ranks(look),
        *_skipped(run),
        *_broken(run),
        *_waiting(run),
    ]


def worst(found: list[Check]) -> str:
    """Sign of the whole; none where nothing could be judged."""
    there = {check.sign for check in found}
    return next((sign for sign in (BAD, LOOK, GOOD) if sign in there), NONE)


def _state(run: Run) -> Check:
    it = run.status
    if it is None:
        done = run.results.get("pretrain")
        if done and "step" in done:
            return Check(
                GOOD, f"Finished at step {done['step']:,}; there is no status.json, which says more."
            )
        return Check(NONE, "There is no status.json: whether it finished cannot be told.")
    where = f"step {it['step']:,} of {it['num_steps']:,}"
    if it["state"] == "finished":
        return Check(GOOD, f"Finished: {where}.")
    if it["state"] == "stopped":
        return Check(LOOK, f"Stopped at {where}: {it.get('reason') or 'no reason given'}.")
    return Check(
        NONE, f"Not finished: {it['state']}, {where}, as of {it.get('updated', 'a time not recorded')}."
    )


def _loss(run: Run) -> Check:
    loss = series.of(run, "loss")
    if not len(loss.values):
        return Check(NONE, "No loss was written yet.")
    if lost := len(loss.values) - len(loss.finite):
        first = int(loss.steps[np.isnan(loss.values)][0])
        rows = f"{lost} of {formatting.count(len(loss.values), 'row')}"
        ends = not math.isfinite(loss.values[-1])
        return Check(BAD if ends else LOOK, f"The loss is not finite in {rows}, the first at step {first:,}.")
    rows = f"finite in {'the one row' if len(loss.values) == 1 else f'all {len(loss.values):,} rows'}"
    trend = series.trend(loss.values)
    if trend is None:
        return Check(GOOD, f"The loss is {rows}: {formatting.number(loss.values[0])}.")
    told = f"from {formatting.number(loss.values[0])} to {formatting.number(loss.values[-1])}"
    if trend[1] < trend[0]:
        return Check(GOOD, f"The loss is {rows}, and fell {told}.")
    if run.config.get("objective.name") in _LOSS_MAY_RISE:
        return Check(
            NONE, f"The loss is {rows}. It went {told}, which says little of this method: see the k-NN."
        )
    return Check(LOOK, f"The loss is {rows}, but did not fall: {told}.")


def _embeddings(run: Run) -> Iterator[Check]:
    rows = [row for row in run.metrics if row.get("embedding_spread") is not None]
    if not rows:
        if run.metrics:
            yield Check(NONE, "No embeddings were measured, so none can have collapsed.")
        return
    row = {name: value for name, value in rows[-1].items() if value is not None}
    there = _collapsed(run, row)
    lasts = bool(there) and all(_collapsed(run, one) for one in rows[-_LASTS:])
    spread = row["embedding_spread"]
    told = f"spread {formatting.number(spread, 2)}, healthy is near 1, collapse below {diagnostics.SPREAD}"
    if "spread" in there:
        name, value = there["spread"]
        told = f"{name} {formatting.number(value, 2)}, below {diagnostics.SPREAD}"
        yield Check(BAD if lasts else LOOK, f"The embeddings are collapsing to one vector: {told}.")
    else:
        yield Check(GOOD, f"The embeddings have not collapsed: {told}.")
    if "diagonal_mean" in row:
        yield _views(row, there, lasts)
    least, mean = row.get("embedding_std_min"), row.get("embedding_std_mean")
    if least is not None and mean and least < 1e-3 * mean:
        yield Check(
            LOOK,
            f"A feature is (nearly) constant: its deviation is {formatting.number(least, 2)}, on average "
            f"{formatting.number(mean, 2)}.",
        )


def _views(row: dict[str, float], there: dict, lasts: bool) -> Check:
    diagonal, off = row["diagonal_mean"], row.get("off_diagonal_rms", math.nan)
    told = (
        f"diagonal of C {formatting.number(diagonal, 2)} (1 is perfect), off it {formatting.number(off, 2)}"
    )
    if "diagonal" in there:
        return Check(BAD if lasts else LOOK, f"The two views of an image do not agree: {told}.")
    if "rank" in there:
        return Check(BAD if lasts else LOOK, f"All features of the embeddings are one and the same: {told}.")
    return Check(GOOD, f"Views agree, and features differ: {told}.")


def _ranks(look: ModelInspection | None) -> Iterator[Check]:
    if look is None or not look.snapshots:
        return
    last, told = look.snapshots[-1], []
    for what in ("representation", "embedding"):
        rank, spectrum = getattr(last, f"{what}_rank"), getattr(last, f"{what}_spectrum")
        if rank is not None and spectrum is not None:
            told.append(f"{what}s use {rank:.1f} of {len(spectrum)} directions")
    if told:
        yield Check(NONE, f"{' and '.join(told)} (effective ranks).".capitalize())


def _collapsed(run: Run, row: dict) -> dict[str, tuple[str, float]]:
    config, group = run.config, "objective.barlow_twins"
    seen_by = diagnostics.CollapseCriteria.of(
        config.get("objective.name", ""),
        config.get(f"{group}.normalization", "batch"),
        config.get(f"{group}.temperature"),
    )
    needed = ["embedding_spread", *(["embedding_std_mean"] if seen_by.lengths else [])]
    needed += ["diagonal_mean", "off_diagonal_rms"] if seen_by.correlations else []
    return seen_by.signs(row) if all(row.get(name) is not None for name in needed) else {}


def _skipped(run: Run) -> Iterator[Check]:
    number = _last(run, "skipped_steps")
    if number:
        yield Check(
            LOOK, f"{formatting.count(number, 'step')} skipped, whose loss or gradient was not finite."
        )
    elif number == 0:
        yield Check(GOOD, "No step was skipped.")


def _broken(run: Run) -> Iterator[Check]:
    number = _last(run, "decode_failures")
    if number:
        yield Check(
            LOOK,
            f"{formatting.count(number, 'image')} could not be decoded (the files decode_failures*.jsonl).",
        )
    elif number == 0:
        yield Check(GOOD, "No broken image was met.")


def _last(run: Run, name: str) -> int | None:
    value = series.last(run, name)
    value = (run.status or {}).get(name) if value is None else value
    return None if value is None else int(value)


def _waiting(run: Run) -> Iterator[Check]:
    shares = series.of(run, "data_wait_fraction").finite[1:]  # the first has the start of the pipeline
    if len(shares):
        share = float(np.median(shares))
        slow = share > diagnostics.WAIT_SHARE
        told = f"{share:.1%} of the time in the median row, a warning above {diagnostics.WAIT_SHARE:.0%}"
        yield Check(
            LOOK if slow else GOOD, f"{'Devices wait' if slow else 'Hardly a wait'} for data: {told}."
        )
