import time

import numpy as np
import pytest

from barlow_jax.training.prefetch import DevicePrefetcher


class _Running:
    """Stands for a step's output that is done after some time."""

    def __init__(self, seconds):
        self._end = time.monotonic() + seconds

    def is_ready(self):
        return time.monotonic() >= self._end


def _slow(seconds, count=5):
    for number in range(count):
        time.sleep(seconds)
        yield np.array(number)


def test_batches_arrive_in_order():
    feed = DevicePrefetcher(_slow(0.0), lambda batch: batch)
    assert [int(feed.next()) for _ in range(5)] == [0, 1, 2, 3, 4]
    feed.close()


def test_waiting_counts_while_the_devices_have_nothing_to_do():
    feed = DevicePrefetcher(_slow(0.2), lambda batch: batch)
    feed.next(None)
    assert 0.1 < feed.waited < 1.0
    feed.close()


def test_waiting_does_not_count_while_a_step_is_running():
    feed = DevicePrefetcher(_slow(0.2), lambda batch: batch)
    feed.next(_Running(60))
    assert feed.waited == 0
    feed.close()


def test_an_error_in_the_data_reaches_the_loop():
    def failing():
        yield np.array(0)
        raise OSError("disk gone")

    feed = DevicePrefetcher(failing(), lambda batch: batch)
    feed.next()
    with pytest.raises(OSError, match="disk gone"):
        feed.next()
    feed.close()


def test_the_end_of_the_data_is_an_error_not_a_hang():
    feed = DevicePrefetcher(iter(()), lambda batch: batch)
    with pytest.raises(RuntimeError, match="the data ended before the run did"):
        feed.next()
    feed.close()


def test_closing_ends_the_thread_while_batches_are_left():
    feed = DevicePrefetcher(_slow(0.0, count=10_000), lambda batch: batch)
    feed.next()
    feed.close()
    assert not feed._thread.is_alive()
