"""Data sets: sources, decoding, host augmentation, the order of the data, and decode failures.

Only this package imports TensorFlow, which takes 10 s, for data sets of TFDS alone.
"""

import os

# Otherwise TensorFlow prints notes on oneDNN and the processor at every start, and a line for each truncated
# JPEG, which is counted and logged with its name. What TensorFlow cannot do it raises.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
