"""XLA flags of the tests, whose programs run for milliseconds: most of their time is compilation."""

import functools
import os
import subprocess
import sys

# LLVM's optimizations do not pay, XLA's older kernels compile in half the time of the fusion emitters, and
# one module for LLVM compiles in four fifths of the time of 32.
FASTER = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
# Reads the flags without importing jax: 0.2 s.
_READ = "from jaxlib import _jax; _jax.CompileOptions().executable_build_options.debug_options"
_ACCEPTED = "BARLOW_JAX_TEST_XLA_FLAGS"


def xla_flags(devices):
    """Return the value of XLA_FLAGS for simulated CPU devices."""
    return " ".join([f"--xla_force_host_platform_device_count={devices}", *accepted(FASTER)])


@functools.cache
def accepted(flags):
    """Return those that the installed jaxlib accepts; a process with another one is aborted.

    They are tried once. Processes of the tests, such as the workers of pytest-xdist, inherit the result.
    """
    if _ACCEPTED not in os.environ:
        os.environ[_ACCEPTED] = " ".join(flag for flag in flags if _is_accepted(flag))
    known = os.environ[_ACCEPTED].split()
    return [flag for flag in flags if flag in known]


def _is_accepted(flag):
    command = [sys.executable, "-c", _READ]
    environment = os.environ | {"XLA_FLAGS": flag}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
