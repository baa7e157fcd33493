import time

import numpy as np
import pytest

from barlow_jax.training.prefetch import DevicePrefetcher


class _Running:
    """Output of a step that is done after some time."""

    def __init__(self, seconds):
        self._end = time.monotonic() + seconds

    def is_ready(self):
        return time.monotonic() >= self._end


def _slow(seconds, count=5):
    for number in range(count):
        time.sleep(seconds)
        yield np.array(number)


def test_batches_arrive_in_order():
    prefetcher = DevicePrefetcher(_slow(0.0), lambda batch: batch)
    assert [int(prefetcher.next()) for _ in range(5)] == [0, 1, 2, 3, 4]
    prefetcher.close()


def test_waiting_counts_while_the_devices_have_nothing_to_do():
    prefetcher = DevicePrefetcher(_slow(0.2), lambda batch: batch)
    prefetcher.next(None)
    assert 0.1 < prefetcher.wait_s < 1.0
    prefetcher.close()


def test_waiting_does_not_count_while_a_step_is_running():
    prefetcher = DevicePrefetcher(_slow(0.2), lambda batch: batch)
    prefetcher.next(_Running(60))
    assert prefetcher.wait_s == 0
    prefetcher.close()


def test_an_error_in_the_data_reaches_the_loop():
    def failing():
        yield np.array(0)
        raise OSError("disk gone")

    prefetcher = DevicePrefetcher(failing(), lambda batch: batch)
    prefetcher.next()
    with pytest.raises(OSError, match="disk gone"):
        prefetcher.next()
    prefetcher.close()


def test_the_end_of_the_data_is_an_error_not_a_hang():
    prefetcher = DevicePrefetcher(iter(()), lambda batch: batch)
    with pytest.raises(RuntimeError, match="the data ended before the run did"):
        prefetcher.next()
    prefetcher.close()


def test_closing_ends_the_thread_while_batches_are_left():
    prefetcher = DevicePrefetcher(_slow(0.0, count=10_000), lambda batch: batch)
    prefetcher.next()
    prefetcher.close()
    assert not prefetcher._thread.is_alive()
