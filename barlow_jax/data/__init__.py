"""Data sets: sources, decoding, host augmentation, the order of the data, and decode failures.

Only this package imports TensorFlow, which takes 10 s. `catalog`, `splits`, `npz` and `sampler` import
without it.
"""

import os

# Otherwise TensorFlow prints notes on oneDNN and the processor at every start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
