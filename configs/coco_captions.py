"""Image and text on COCO captions: Barlow Twins, VICReg or VSE++, a ResNet and a GRU (VICReg, table 3).

Expected, R@1 on the 5 000 test images with five captions each (image to text / text to image): VSE++ 41.3 /
30.3, Barlow Twins 42.9 / 31.4, VICReg 45.2 / 33.6; chance 0.02. Not yet trained here.
Hardware: not published.
Data: TFDS's `coco_captions`, which has Karpathy and Fei-Fei's split. `bash launch/prepare_data.sh
coco_captions` downloads it (38 GiB, 19 GiB when prepared). The first start reads all training captions once
to count their words.

    python -m barlow_jax pretrain --config coco_captions --workdir runs/coco_captions
    python -m barlow_jax pretrain --config coco_captions:vicreg --workdir runs/coco_captions_vicreg
    python -m barlow_jax pretrain --config coco_captions:vse --workdir runs/coco_captions_vse
    python -m barlow_jax retrieve --workdir runs/coco_captions

Published (VICReg, section 5): a ResNet-152, a word embedding and a GRU in the setting of VSE++ (Faghri et
al. 2018): training images with `restval`, random crops and flips, words that occur four times, word
embeddings of 300, a GRU of 1024, batches of 128, Adam at 2e-4 for 30 epochs of all five captions, which is
150 epochs of one sampled caption, as here.
Not published: the expanders (here ImageNet's), Barlow Twins' lambda (here ImageNet's) and VICReg's
coefficients, which were different for each branch (here 25, 25, 1 for both).
VSE++ (the authors' code): margin 0.2, and a Linear to 1024 on the image, here on the caption too.
Differences: half a cosine and a warm-up, where VSE++ divides the learning rate by 10 after half of the
epochs. VSE++'s ResNet starts from weights learned with ImageNet's labels, to which the published numbers
owe much; `pretrain` starts from random weights, so expect less.
"""

from barlow_jax.config.overrides import default_config


def get_config(objective="barlow_twins"):
    config = default_config()
    config.data.name = "coco_captions"
    config.data.train_split = "train+restval"
    config.data.eval_split = "test"
    config.data.caption_words = 32
    with config.unlocked():
        del config.recipe.views["b"]  # view b is the caption
    view = config.recipe.views.a
    view.crop.method = "bilinear"
    view.jitter.probability = view.grayscale.probability = view.blur.probability = 0.0

    config.network.encoder = "resnet152"
    config.network.branches = "own"
    config.network.second_encoder = "gru"
    config.objective.name = objective
    if objective == "vicreg":
        config.network.projector_biases = "hidden"
    if objective == "vse":
        config.network.projector, config.network.projector_biases = (1024,), "all"

    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-4  # 2e-4 at batches of 128
    config.optim.bias_learning_rate = None
    config.optim.weight_decay = 0.0
    config.optim.warmup_epochs = 5.0
    config.train.batch_size = 128
    config.train.num_epochs = 150.0
    config.checkpoint.keep_every_epochs = 50.0
    return config
