"""Number of cores."""

import os
import subprocess
import sys

import pytest

from barlow_jax.io import processors


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_counts_the_cores_that_it_may_use():
    assert processors.available() == len(os.sched_getaffinity(0))
    code = "import os; from barlow_jax.io import processors; "
    code += "os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]); print(processors.available())"
    assert int(subprocess.check_output([sys.executable, "-c", code])) == 1
