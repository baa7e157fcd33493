"""Photographs."""

from photographs import imagenet_files, images  # noqa: F401
