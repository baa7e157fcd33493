"""Self-supervised image encoders by redundancy reduction, in JAX."""

from barlow_jax.version import __version__

__all__ = ["__version__"]
