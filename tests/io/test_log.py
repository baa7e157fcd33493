"""Log messages: prefix, process index and stream."""

import pytest

from barlow_jax.io import log


@pytest.fixture(autouse=True)
def _process_0():
    yield
    log.set_process_index(0)


def test_messages_go_to_standard_error_with_the_prefix_of_their_level(capsys):
    log.info("step 1")
    log.warning("disk full")
    log.error("no such key")
    assert capsys.readouterr().err.splitlines() == ["step 1", "warning: disk full", "error: no such key"]


def test_other_processes_log_only_messages_about_their_host(capsys):
    log.set_process_index(1)
    log.info("about the run")
    log.warning("about this host", every_process=True)
    assert capsys.readouterr().err.splitlines() == ["warning: about this host"]
