"""The settings of a run of several processes as jax receives them."""

import jax
import pytest

from barlow_jax.config.schema import Distributed
from barlow_jax.distributed.cluster import ProcessSpec, join  # before a fixture replaces it


def test_the_time_limits_of_the_config_reach_jax(monkeypatch):
    given = {}

    def initialize(**options):
        given.update(options)
        raise RuntimeError("no network")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    limits = Distributed(initialization_timeout_s=11, heartbeat_timeout_s=12, shutdown_timeout_s=13)
    with pytest.raises(ConnectionError, match="no network"):
        join(limits, ProcessSpec("127.0.0.1:1", 2, 1))
    names = ("initialization_timeout", "heartbeat_timeout_seconds", "shutdown_timeout_seconds")
    assert [given[name] for name in names] == [11, 12, 13]
