"""Photographs, and random numbers of the host's augmentation."""

import distributions
import numpy as np
from photographs import images  # noqa: F401
import pytest


@pytest.fixture(scope="session")
def draws():
    """Uniforms of views a and b at the first positions of a run."""
    return {
        name: distributions.draw(number, np.arange(distributions.IMAGES))
        for number, name in enumerate(sorted(distributions.VIEWS))
    }
