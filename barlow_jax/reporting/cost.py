"""Cost of a run: time, device-hours, price."""

from typing import NamedTuple

from barlow_jax.reporting import formatting
from barlow_jax.reporting.schema import Run


class Cost(NamedTuple):
    """Cost of a run. Unknown values are None."""

    wall_seconds: float | None  # since the first start, including time in which nothing ran
    useful_seconds: float | None  # in steps that count
    restarts: int | None
    lost_seconds: float | None  # to restarts
    devices: int | None  # of all processes, at the last start; CPUs count one per process
    devices_changed: bool  # earlier starts used a different number
    unit: str  # "chip" on TPUs, else "device"
    device_hours: float | None
    price: float | None


def run_cost(run: Run, device_hour_price: float | None) -> Cost:
    """Return the cost of a run, given the price per device-hour in any currency."""
    status = run.status or {}
    wall = status.get("wall_seconds", run.results.get("pretrain", {}).get("seconds"))
    # JAX can present one CPU as any number of devices.
    starts = [entry.get("devices") or {} for entry in run.provenance]
    counts = [s.get("processes", 1) if s.get("kind") == "cpu" else s.get("count") for s in starts]
    devices = counts[-1] if counts else None
    hours = wall / 3600 * devices if wall is not None and devices else None
    price = hours * device_hour_price if hours is not None and device_hour_price is not None else None
    return Cost(
        wall,
        status.get("useful_seconds"),
        status.get("restarts"),
        status.get("lost_seconds"),
        devices,
        len(set(counts)) > 1,
        "chip" if run.on_tpu else "device",
        hours,
        price,
    )


def goodput(cost: Cost) -> float | None:
    """Return the fraction of the wall time spent in steps that count."""
    if cost.useful_seconds is None or not cost.wall_seconds:
        return None
    return min(1.0, cost.useful_seconds / cost.wall_seconds)


def sentences(cost: Cost, device_hour_price: float | None) -> list[str]:
    """Return one sentence per fact, with its numbers."""
    lines, unit = [], cost.unit
    if cost.wall_seconds is None:
        lines.append("Wall time: not recorded; neither status.json nor results/pretrain.json exists.")
    else:
        lines.append(f"Wall time: {formatting.duration(cost.wall_seconds)} since the first start.")
    if (fraction := goodput(cost)) is not None:
        useful = formatting.duration(cost.useful_seconds)
        lines.append(f"Goodput: {fraction:.1%} ({useful} in steps that count).")
    if cost.restarts is not None:
        lost = (
            f" ({formatting.duration(cost.lost_seconds)} lost)" if cost.restarts and cost.lost_seconds else ""
        )
        lines.append(f"Restarts: {cost.restarts}{lost}.")
    if cost.device_hours is None:
        missing = "provenance.json, which records the number of devices, is missing"
        lines.append(f"Device-hours: unknown; {missing}.")
    else:
        changed = f"; earlier starts used a different number of {unit}s" if cost.devices_changed else ""
        hours, devices = formatting.number(cost.device_hours), formatting.count(cost.devices, unit)
        lines.append(f"{unit.capitalize()}-hours: {hours} on {devices}{changed}.")
    if cost.price is not None:
        lines.append(f"Price: {cost.price:,.2f} at {device_hour_price:,.2f} per {unit}-hour.")
    elif cost.device_hours is not None:
        lines.append("Price: pass --device-hour-price to show it.")
    return lines
