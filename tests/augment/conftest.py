"""Fixtures: photographs to compare with Pillow on."""

from photographs import imagenet_files, images  # noqa: F401
