"""Start of a run of several processes: how they connect to each other."""

from barlow_jax.config.schema import Distributed
from barlow_jax.distributed import exchange, exit_message
from barlow_jax.distributed.process_flags import ProcessSpec
from barlow_jax.io import log


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
    exit_message.set_message(_timeout_message(distributed, spec))
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
        exit_message.clear()
        if spec is None and str(error) == "coordinator_address should be defined.":
            return  # no cluster was detected
        remedy = "" if spec else "; to run on this host alone, set --config.distributed.detect=false"
        raise ConnectionError(f"cannot connect to the other processes: {error}{remedy}") from error
    if jax.process_count() == 1:
        exit_message.clear()
        return
    from jax._src import distributed as internal  # jax has no public access to its key-value store

    exchange.set_client(internal.global_state.client)
    log.set_process_index(jax.process_index())
    exit_message.set_message(
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
