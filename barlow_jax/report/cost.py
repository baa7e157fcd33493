"""Cost of a run: time, chip-hours, price."""

from typing import NamedTuple

from barlow_jax.report import formatting
from barlow_jax.report.schema import Run


class Cost(NamedTuple):
    """Cost of a run. Unknown values are None."""

    wall_seconds: float | None  # since the first start, including time in which nothing ran
    useful_seconds: float | None  # in steps that count
    restarts: int | None
    lost_seconds: float | None  # to restarts
    chips: int | None  # of all processes, at the last start
    chips_changed: bool  # earlier starts used a different number
    chip_hours: float | None
    price: float | None


def run_cost(run: Run, chip_hour_price: float | None) -> Cost:
    """Return the cost of a run, given the price per chip-hour in any currency."""
    status = run.status or {}
    wall = status.get("wall_seconds", run.results.get("pretrain", {}).get("seconds"))
    counts = [(entry.get("devices") or {}).get("count") for entry in run.provenance]
    chips = counts[-1] if counts else None
    hours = wall / 3600 * chips if wall is not None and chips else None
    price = hours * chip_hour_price if hours is not None and chip_hour_price is not None else None
    return Cost(
        wall,
        status.get("useful_seconds"),
        status.get("restarts"),
        status.get("lost_seconds"),
        chips,
        len(set(counts)) > 1,
        hours,
        price,
    )


def goodput(cost: Cost) -> float | None:
    """Return the fraction of the wall time spent in steps that count."""
    if cost.useful_seconds is None or not cost.wall_seconds:
        return None
    return min(1.0, cost.useful_seconds / cost.wall_seconds)


def sentences(cost: Cost, chip_hour_price: float | None) -> list[str]:
    """Return one sentence per fact, with its numbers."""
    lines = []
    if cost.wall_seconds is None:
        lines.append("Wall time: not recorded; neither status.json nor results/pretrain.json exists.")
    else:
        lines.append(f"Wall time: {formatting.duration(cost.wall_seconds)} since the first start.")
    if (fraction := goodput(cost)) is not None:
        lines.append(
            f"Goodput: {fraction:.1%} ({formatting.duration(cost.useful_seconds)} in steps that count)."
        )
    if cost.restarts is not None:
        lost = cost.restarts and cost.lost_seconds
        lost_text = f" ({formatting.duration(cost.lost_seconds)} lost)" if lost else ""
        lines.append(f"Restarts: {cost.restarts}{lost_text}.")
    if cost.chip_hours is None:
        lines.append("Chip-hours: unknown; provenance.json, which records the number of devices, is missing.")
    else:
        changed = "; earlier starts used a different number of chips" if cost.chips_changed else ""
        hours, chips = formatting.number(cost.chip_hours), formatting.count(cost.chips, "chip")
        lines.append(f"Chip-hours: {hours} on {chips}{changed}.")
    if cost.price is not None:
        lines.append(f"Price: {cost.price:,.2f} at {chip_hour_price:,.2f} per chip-hour.")
    elif cost.chip_hours is not None:
        lines.append("Price: pass --chip-hour-price to show it.")
    return lines
