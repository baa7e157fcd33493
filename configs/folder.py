"""Barlow Twins on your own images: a folder of <split>/<class>/<image>, JPEG or PNG.

Expected: depends on the images; watch `knn_top1` in the log if your classes mean something, and put all
images into one class folder if they do not. Hardware: one GPU or TPU chip with 16 GB at this batch.

    python -m barlow_jax pretrain --config configs/folder.py --workdir runs/mine --config.data.data_dir=/data/images

A batch of 256 at the authors' rate for it (their table: 0.4 per 256 images), 300 epochs. Images that
are much smaller than 224 pixels want a smaller --config.data.image_size and --config.data.eval_resize,
and below 64 pixels --config.network.stem=cifar.
"""

from barlow_jax.config.overrides import load_sibling


def get_config():
    config = load_sibling(__file__, "imagenet")
    config.data.name = "folder"
    config.data.eval_split = "val"
    config.train.num_epochs = 300.0
    config.train.batch_size = 256
    config.optim.learning_rate = 0.4
    config.eval_batch_size = 256
    return config
