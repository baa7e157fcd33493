"""Validation of a config, before anything slow starts; all problems are reported at once."""

from barlow_jax.config.validation.checks import Facts, validate

__all__ = ["Facts", "validate"]
