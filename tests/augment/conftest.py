"""Fixtures: photographs to compare with Pillow on."""

from photographs import images  # noqa: F401
