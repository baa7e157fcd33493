"""Command-line flags that place a process in a run where no cluster environment does."""

import argparse
import dataclasses

_FLAGS = ("--coordinator", "--num-processes", "--process-id")


@dataclasses.dataclass(frozen=True)
class ProcessSpec:
    """Position of one process among the processes of a run."""

    coordinator: str  # HOST:PORT at which process 0 listens
    num_processes: int
    process_id: int


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser."""
    group = parser.add_argument_group(
        "several processes",
        "TPU slices, GKE and Slurm are detected. Elsewhere, pass all three flags to each process, for "
        "example --coordinator=10.0.0.2:8476 --num-processes=2 --process-id=0.",
    )
    address = "address of process 0; the port must be free on its host"
    group.add_argument("--coordinator", metavar="HOST:PORT", help=address)
    group.add_argument("--num-processes", metavar="N", help="number of processes")
    group.add_argument("--process-id", metavar="I", help="index of this process: 0 to N-1")


def parse(args: argparse.Namespace) -> tuple[ProcessSpec | None, list[str]]:
    """Return the position given by the flags (None without flags), and the problems with them."""
    given = {flag: getattr(args, flag.removeprefix("--").replace("-", "_")) for flag in _FLAGS}
    missing = [flag for flag, value in given.items() if value is None]
    if len(missing) == len(_FLAGS):
        return None, []
    problems = [f"{flag} is missing; {', '.join(_FLAGS)} must be given together" for flag in missing]
    host, _, port = (args.coordinator or "").rpartition(":")
    if args.coordinator is not None and not (host and _is_integer(port, 1, 65535)):
        problems.append(f"--coordinator: expected HOST:PORT, such as 10.0.0.2:8476, got {args.coordinator!r}")
    count, index = args.num_processes, args.process_id
    if count is not None and not _is_integer(count, 1):
        problems.append(f"--num-processes: expected an integer of at least 1, got {count!r}")
    largest = int(count) - 1 if _is_integer(count, 1) else None
    if index is not None and not _is_integer(index, 0, largest):
        limits = "of at least 0" if largest is None else f"from 0 to {largest}"
        problems.append(f"--process-id: expected an integer {limits}, got {index!r}")
    return (None, problems) if problems else (ProcessSpec(args.coordinator, int(count), int(index)), [])


def _is_integer(text: str | None, minimum: int, maximum: int | None = None) -> bool:
    digits = text is not None and text.isascii() and text.isdecimal()
    return digits and minimum <= int(text) and (maximum is None or int(text) <= maximum)
