r"""Barlow Twins on class folders, <split>/<class>/<image>, such as ImageNet's, by ImageNet's recipe.

Expected: depends on the images. If your classes are meaningful, watch `knn_top1` in the log. Without classes,
put the images into <split>/, add --config.data.labels=none, and watch the verdict of `status`
(docs/monitoring.md).
Hardware: one GPU or TPU chip with 16 GB at this batch size.

    python -m barlow_jax pretrain --config folder --workdir runs/mine \
        --config.data.data_dir=/data/images

300 epochs at batch 256 with the authors' learning rate for it (0.4 per 256 images in their table). For
images much smaller than 224 pixels, use a smaller --config.data.image_size and --config.data.eval_resize,
and below 64 pixels also --config.network.stem=cifar.
"""

from barlow_jax.config.overrides import load_sibling


def get_config():
    config = load_sibling(__file__, "imagenet")
    config.data.name = "images"
    config.data.labels = "folders"
    config.data.eval_split = "val"
    config.train.num_epochs = 300.0
    config.train.batch_size = 256
    config.optim.learning_rate = 0.4
    config.eval_batch_size = 256
    return config
