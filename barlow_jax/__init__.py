"""Self-supervised image encoders by redundancy reduction, in JAX."""

__version__ = "0.1.0"
