"""Start of a run of several processes: their flags, and how they connect to each other."""

import argparse
import dataclasses

from barlow_jax.config.schema import Distributed
from barlow_jax.distributed import exchange, shutdown
from barlow_jax.io import log

_FLAGS = ("--coordinator", "--num-processes", "--process-id")


@dataclasses.dataclass(frozen=True)
class ProcessSpec:
    """Position of one process among the processes of a run."""

    coordinator: str  # HOST:PORT at which process 0 listens
    num_processes: int
    process_id: int


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that place a process in a run where no cluster environment does."""
    group = parser.add_argument_group(
        "several processes",
        "TPU slices, GKE and Slurm are detected. Elsewhere, pass all three flags to each process, for "
        "example --coordinator=10.0.0.2:8476 --num-processes=2 --process-id=0.",
    )
    address = "address of process 0; the port must be free on its host"
    group.add_argument("--coordinator", metavar="HOST:PORT", help=address)
    group.add_argument("--num-processes", metavar="N", help="number of processes")
    group.add_argument("--process-id", metavar="I", help="index of this process: 0 to N-1")


def parse_flags(args: argparse.Namespace) -> tuple[ProcessSpec | None, list[str]]:
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


def join(distributed: Distributed, spec: ProcessSpec | None) -> None:
    """Connect to the other processes of the run, at `spec` or through a detected cluster environment.

    Without either, this process stays alone. Call it before anything else uses jax's devices. If the others
    do not connect in time, jax aborts this process, and the exit message gives the reason.

    Raises:
      ConnectionError: a cluster was detected or given, and connecting to it failed.
    """
    import jax

    if jax.distributed.is_initialized() or not (spec or distributed.detect):
        return
    shutdown.set_exit_message(_timeout_message(distributed, spec))
    jax.config.update("jax_enable_preemption_service", False)  # training.preemption handles SIGTERM
    address = {}
    if spec:
        address = {
            "coordinator_address": spec.coordinator,
            "num_processes": spec.num_processes,
            "process_id": spec.process_id,
            "cluster_detection_method": "deactivate",  # otherwise jax would query a cluster for other values
        }
    try:
        jax.distributed.initialize(
            **address,
            initialization_timeout=distributed.initialization_timeout_s,
            heartbeat_timeout_seconds=distributed.heartbeat_timeout_s,
            shutdown_timeout_seconds=distributed.shutdown_timeout_s,
        )
    except Exception as error:  # jax, the metadata server and Kubernetes raise different types
        shutdown.clear_exit_message()
        if spec is None and str(error) == "coordinator_address should be defined.":
            return  # no cluster was detected
        remedy = "" if spec else "; to run on this host alone, set --config.distributed.detect=false"
        raise ConnectionError(f"cannot connect to the other processes: {error}{remedy}") from error
    if jax.process_count() == 1:
        shutdown.clear_exit_message()
        return
    from jax._src import distributed as internal  # jax has no public access to its key-value store

    exchange.set_client(internal.global_state.client)
    log.set_process_index(jax.process_index())
    shutdown.set_exit_message(
        f"error: process {jax.process_index()} of {jax.process_count()} ended during its work: it was killed "
        "or another process died or could no longer be reached (see the lines above and the other logs); run "
        "the same command again on all hosts (pretrain resumes from its newest checkpoint)"
    )


def _timeout_message(distributed: Distributed, spec: ProcessSpec | None) -> str:
    message = f"error: the processes did not connect within {distributed.initialization_timeout_s} s; "
    if spec:
        return message + (
            f"start all {spec.num_processes} of them, each with its own --process-id, and check that "
            f"{spec.coordinator} can be reached from this host and that the port was free on that host"
        )
    return message + (
        "run the same command on every host of the slice or job, or set --config.distributed.detect=false to "
        "run on this host alone"
    )
