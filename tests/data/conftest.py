"""Photographs, and draws of the host's interpreter."""

import distributions
import numpy as np
from photographs import imagenet_files, images  # noqa: F401
import pytest


@pytest.fixture(scope="session")
def draws():
    """Of views a and b, of the first images that a run is given."""
    return {
        name: distributions.draw(number, np.arange(distributions.IMAGES))
        for number, name in enumerate(sorted(distributions.VIEWS))
    }
