"""Cost of a run: time, device-hours, price."""

from typing import NamedTuple

from barlow_jax.reporting import formatting
from barlow_jax.reporting.schema import Run


class Cost(NamedTuple):
    """Cost of a run. Unknown values are None."""

    wall_seconds: float | None  # since the first start, including time in which nothing ran
    devices: int | None  # of all processes, at the last start; CPUs count one per process
    devices_changed: bool  # earlier starts used a different number
    unit: str  # "chip" on TPUs, else "device"
    device_hours: float | None
    price: float | None


def run_cost(run: Run) -> Cost:
    """Return the cost of a run."""
    wall = (run.status or {}).get("wall_seconds", run.results.get("pretrain", {}).get("seconds"))
    # JAX can present one CPU as any number of devices.
    starts = [entry.get("devices") or {} for entry in run.provenance]
    counts = [s.get("processes", 1) if s.get("kind") == "cpu" else s.get("count") for s in starts]
    devices = counts[-1] if counts else None
    hours = wall / 3600 * devices if wall is not None and devices else None
    price = None if hours is None or run.device_hour_price is None else hours * run.device_hour_price
    return Cost(wall, devices, len(set(counts)) > 1, "chip" if run.on_tpu else "device", hours, price)


def facts(run: Run) -> dict[str, str]:
    """Return the cost as text by quantity; what is not recorded says so, or is left out."""
    status, cost, texts = run.status or {}, run_cost(run), {}
    wall, useful, unit = cost.wall_seconds, status.get("useful_seconds"), cost.unit
    texts["Wall time"] = "not recorded; neither status.json nor results/pretrain.json exists"
    if wall is not None:
        texts["Wall time"] = f"{formatting.duration(wall)} since the first start"
    if wall and useful is not None:
        count = f"{formatting.duration(useful)} in steps that count"
        texts["Goodput"] = f"{min(1.0, useful / wall):.1%} ({count})"
    if (restarts := status.get("restarts")) is not None:
        lost = status.get("lost_seconds") if restarts else None
        texts["Restarts"] = f"{restarts}" + (f" ({formatting.duration(lost)} lost)" if lost else "")
    missing = "provenance.json, which records the number of devices, is missing"
    hours = f"{unit.capitalize()}-hours"
    if cost.device_hours is None:
        return texts | {hours: f"unknown; {missing}"}
    changed = f"; earlier starts used a different number of {unit}s" if cost.devices_changed else ""
    on = formatting.count(cost.devices, unit)
    texts[hours] = f"{formatting.number(cost.device_hours)} on {on}{changed}"
    texts["Price"] = "pass --device-hour-price to show it"
    if cost.price is not None:
        texts["Price"] = f"{cost.price:,.2f} at {run.device_hour_price:,.2f} per {unit}-hour"
    return texts
