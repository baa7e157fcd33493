"""Context prediction (Doersch et al. 2015): classify in which of eight directions a patch's neighbor lies.

The patch in the middle of a 3 x 3 grid of view a, and one of its eight neighbors, go through the encoder one
by one and side by side through the joint head, which classifies the neighbor's place: the loss of `jigsaw`,
with eight pairs of cells instead of permutations. A step has one pair of each image.
"""

import numpy as np

from barlow_jax.config import schema as config_lib
from barlow_jax.objectives.jigsaw import order_prediction
from barlow_jax.types import Objective, RunInfo

PAIRS = np.array([(4, cell) for cell in range(9) if cell != 4], np.int32)


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over two patches of view a."""
    return order_prediction(PAIRS, config.scale)
