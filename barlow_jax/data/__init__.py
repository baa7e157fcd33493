"""The tensorflow wing: the only room that imports it (10 s), and only in sources, views, host_ops,
mending and pipeline.

`catalog` says what a data set holds without it.
"""

import os

# Without these TensorFlow opens every program with notes on oneDNN and the processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
