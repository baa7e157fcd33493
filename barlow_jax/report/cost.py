"""What a run cost: time, chips, money."""

from typing import NamedTuple

from barlow_jax.report import formatting
from barlow_jax.report.schema import Run


class Cost(NamedTuple):
    """What is not known is None."""

    wall_seconds: float | None  # from the first start on, the time in which nothing ran included
    useful_seconds: float | None  # in steps that count
    restarts: int | None
    lost_seconds: float | None  # to restarts
    chips: int | None  # of all processes, at the last start
    chips_changed: bool  # earlier starts had another number
    chip_hours: float | None
    price: float | None


def of(run: Run, chip_hour_price: float | None) -> Cost:
    """Args: a run, and the price of one chip for one hour, in any currency."""
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
    if cost.useful_seconds is None or not cost.wall_seconds:
        return None
    return min(1.0, cost.useful_seconds / cost.wall_seconds)


def hours(chip_hours: float | None) -> str:
    if chip_hours is None:
        return "-"
    return f"{formatting.number(chip_hours)} chip-hour{'' if chip_hours == 1 else 's'}"


def sentences(cost: Cost, chip_hour_price: float | None) -> list[str]:
    """One fact each, with its numbers."""
    told = []
    if cost.wall_seconds is None:
        told.append(
            "How long it took is not recorded: neither status.json nor results/pretrain.json is there."
        )
    else:
        told.append(f"{formatting.span(cost.wall_seconds)} of wall time, from the first start on.")
    if (useful := goodput(cost)) is not None:
        told.append(
            f"Goodput {formatting.share(useful)}: {formatting.span(cost.useful_seconds)} in steps that count."
        )
    if cost.restarts is not None:
        lost = (
            f", which cost {formatting.span(cost.lost_seconds)}"
            if cost.restarts and cost.lost_seconds
            else ""
        )
        told.append(
            f"{formatting.count(cost.restarts, 'restart')}{lost}." if cost.restarts else "No restart."
        )
    if cost.chip_hours is None:
        told.append(
            "Chip-hours are not known: provenance.json, which has the number of devices, is not there."
        )
    else:
        changed = "; earlier starts had another number of chips" if cost.chips_changed else ""
        told.append(f"{hours(cost.chip_hours)} on {formatting.count(cost.chips, 'chip')}{changed}.")
    if cost.price is not None:
        told.append(f"Price: {cost.price:,.2f}, at {chip_hour_price:,.2f} a chip-hour.")
    elif cost.chip_hours is not None:
        told.append("The price is shown with --chip-hour-price.")
    return told
