"""Schema of a run's configuration. The defaults are the ImageNet recipe.

Barlow Twins (Zbontar et al. 2021), 1000 epochs, as in the official code where paper and code differ.
"""

from collections.abc import Mapping
import dataclasses
from typing import Literal

from barlow_jax.config.evaluation import Finetune, Knn, Probe, Retrieval, Svm
from barlow_jax.config.fields import field
from barlow_jax.config.methods import Objective
from barlow_jax.config.recipe import SECOND_VIEW, Recipe
from barlow_jax.config.records import Record
from barlow_jax.config.training import Adapt, Checkpoint, Distributed, Mesh, Monitor, Optim, Train

TEXT_ENCODER = "gru"


@dataclasses.dataclass(frozen=True)
class Data:
    """Data set, decoding, and where images are augmented."""

    name: str = field(
        "imagenet2012",
        "images (your own, of any kind), digits, captioned_digits, or the name of any image data set in "
        "TFDS, which TensorFlow reads.",
    )
    data_dir: str | None = field(
        None,
        "Folder of the data: TFDS's data_dir; for images, a folder or file (docs/own_images.md), or a "
        "function that returns them (docs/extending.md). A relative path is recorded as an absolute one. "
        "Data in a bucket (gs://bucket/folder) are read from a copy on the disk.",
        is_path=True,
        part="source",
    )
    labels: str | None = field(
        None,
        "Classes of images, used only to measure. folders: the first folder below the root, or below the "
        "split's. Otherwise the path of a .csv or .parquet table with the columns path and label_column. "
        "none: a column of the source itself, if it has one.",
        is_path=True,
        words=("folders",),
    )
    label_column: str | None = field(
        None,
        "Column with the classes of images; for tar shards, cls or a key of the .json. none: label or "
        "labels, where they exist.",
    )
    classes: tuple[str, ...] = field(
        (), "Classes of images that are read, such as cat,dog; images of no other class are. () = all."
    )
    held_out: float = field(
        0.1,
        "Fraction of images that forms the split held_out, selected by a hash of their names; the rest is "
        "train. A source with splits of its own has those instead.",
        above=0,
        below=1,
    )
    train_split: str = field(
        "train", "Split for training, or a part of it: train[:90%], train[100:200], train+extra."
    )
    eval_split: str = field("validation", "Split for evaluation, or a part of a split: train[90%:].")
    image_size: int = field(224, "Side of the images that the network sees.", unit="pixels", min=1)
    eval_resize: int = field(
        256, "Shorter side before the central crop of image_size in evaluations.", unit="pixels", min=1
    )
    eval_interpolation: Literal["bilinear", "bicubic"] = field(
        "bilinear", "Interpolation of evaluation images, antialiased."
    )
    augment_on: Literal["host", "device"] = field(
        "host",
        "Where views are made of decoded images: on the host (Pillow; of TFDS data, tf.data), or in JAX as "
        "part of the step. All sample the same distribution, from different random streams.",
    )
    canvas: int = field(
        512,
        "Side of the padded images that the host sends to the devices, with augment_on=device.",
        unit="pixels",
        min=1,
    )
    cache: Literal["none", "encoded", "decoded"] = field(
        "none",
        "Images kept in memory. encoded: on this host, each record or file that was read once, eventually "
        "all of them (ImageNet: 140 GB). decoded: pretrain holds all training images on every device, "
        "canvas x canvas x 3 bytes each (CIFAR-10 at 32 pixels: 154 MB), and a step receives only image "
        "indices.",
    )
    follow_exif: bool = field(
        True,
        "Turn images as the EXIF orientation in their files requires. Off: as stored, like torchvision's "
        "ImageFolder and TFDS, for comparison with encoders that were trained so.",
    )
    channels: int = field(3, "Channels of images; other data sets have 3.", min=1, max=64)
    pixel_dtype: Literal["uint8", "float32"] = field(
        "uint8",
        "Pixel values of images. uint8: three channels of 0..255, of 16 bits the upper 8, the input of the "
        "papers' pipelines. float32: any number of channels, mapped to 0..1 by value_range.",
    )
    value_range: str = field(
        "dtype",
        "Pixel values that become 0 and 1 with pixel_dtype=float32; values beyond them are clipped. dtype: "
        "the whole range of a file's integers; floats must lie in 0..1. auto: 0.1 and 99.9 percentiles of "
        "each channel over a sample of train_split, recorded in config.json as numbers. low,high: two "
        "numbers for all channels, or two for each.",
    )
    tile: int = field(
        0,
        "Side of the tiles that larger images are split into; each tile is an example. 0 = whole images.",
        unit="pixels",
        min=0,
    )
    tile_overlap: int = field(0, "Overlap of neighbouring tiles.", unit="pixels", min=0)
    threads: int = field(
        0, "Threads that decode on this host; 0 = one per core that the process may use.", min=0
    )
    prefetch: int = field(2, "Batches prepared in advance.", min=1)
    max_decode_failures: int | None = field(
        1000,
        "Stop when more than this many images of a split cannot be decoded; none = never. Default: a "
        "thousandth of ImageNet, more than a crawl of the web has, and far fewer than an interrupted copy "
        "leaves. Each process counts its own failures.",
        min=0,
    )
    caption_words: int = field(
        0,
        "Maximum length of the caption that is view b; longer ones are cut (data/captions.py). 0 = no "
        "captions.",
        unit="words",
        min=0,
    )
    caption_min_count: int = field(
        4,
        "Minimum number of occurrences of a vocabulary word in the training captions. Default: VSE++'s.",
        min=1,
    )

    @property
    def image(self) -> dict[str, int]:
        """Channels and side of the images in evaluations, as arguments of networks."""
        return {"channels": self.channels, "image_size": self.image_size}


@dataclasses.dataclass(frozen=True)
class Text:
    """Encoder of captions: a word embedding and a GRU. Defaults: VSE++ (Faghri et al. 2018)."""

    vocabulary_size: int = field(
        16384,
        "Rows of the embedding table; the first two are padding and the unknown word. Word ids are ordered "
        "by frequency; ids beyond the table become the unknown word.",
        min=3,
    )
    embedding_size: int = field(300, "Width of a word's embedding.", min=1)
    hidden_size: int = field(1024, "Width H of the GRU's state; the last state is the output.", min=1)


@dataclasses.dataclass(frozen=True)
class Network:
    """Encoder and heads."""

    encoder: str = field(
        "resnet50",
        "Architecture of the encoder, or a network of your own (docs/extending.md).",
        part="encoder",
    )
    width: int = field(
        64, "Channels of a ResNet's first stage: 64 is x1, 128 x2, 256 x4.", unit="channels", min=1
    )
    stem: Literal["imagenet", "cifar"] = field(
        "imagenet", "Stem of a ResNet: 7x7 with stride 2 and max-pooling, or 3x3 with stride 1."
    )
    patch: int = field(16, "Side of the patches of vit_tiny, vit_small and vit_base.", unit="pixels", min=1)
    position_grid: int = field(
        0, "Side of the grid of learned positions (ViT); 0 = the architecture's.", unit="patches", min=0
    )
    pool: Literal["auto", "token", "avg", "fc_norm"] = field(
        "auto",
        "Output of a ViT: class token, mean of patches, LayerNorm of their mean; auto = the architecture's.",
    )
    branches: Literal["shared", "own"] = field(
        "shared",
        "Network of view b: shared with the other views, or its own, of the same architecture or with "
        "second_encoder.",
    )
    second_encoder: str | None = field(
        None,
        "Encoder of view b with branches=own; gru reads captions. none = the same as encoder.",
        part="encoder",
        words=(TEXT_ENCODER,),
    )
    text: Text = Text()
    head: str = field("mlp", "Network of the projector and the predictor, of the widths below.", part="head")
    projector: tuple[int, ...] = field(
        (8192, 8192, 8192), "Widths of the projector's layers; the last one is the embedding's D.", min=1
    )
    projector_batch_norm: bool = field(
        True, "BatchNorm after each hidden layer of the projector, the predictor and the joint head's MLP."
    )
    projector_biases: Literal["none", "hidden", "all"] = field(
        "none", "Layers of the projector, the predictor and the joint head that have biases."
    )
    projector_output_norm: bool = field(False, "BatchNorm without scale and shift on the embedding.")
    predictor: tuple[int, ...] = field(
        (), "Widths of a second such head, on the embedding. Empty = no predictor.", min=1
    )
    prototypes: int = field(
        0,
        "Number K of unit vectors that are compared with the embedding on the unit sphere; 0 = none.",
        min=0,
    )
    num_classes: int = field(0, "Outputs of a linear classifier on the representation; 0 = none.", min=0)
    joint_head: tuple[int, ...] = field(
        (),
        "Widths of the head on patches of an image: an MLP of all widths but the last on the representation "
        "of each patch, then a linear layer on its outputs for all patches side by side. Empty = none.",
        min=1,
    )
    dtype: Literal["float32", "bfloat16"] = field(
        "bfloat16", "Precision of the computation. Parameters are always float32."
    )
    batch_norm_momentum: float = field(
        0.9, "Momentum of BatchNorm's running statistics (0.9 is PyTorch's 0.1).", min=0, max=1
    )
    batch_norm_epsilon: float = field(1e-5, "Added to BatchNorm's variance.", above=0)
    remat: bool = field(
        False, "Recompute each block's activations in the backward pass: less memory, more time."
    )

    @property
    def reads_text(self) -> bool:
        """True if view b is a caption."""
        return self.branches == "own" and self.second_encoder == TEXT_ENCODER


@dataclasses.dataclass(frozen=True)
class Transfer:
    """Another labeled data set, on which the frozen encoder is evaluated.

    Defaults: places205, voc07 and inat18 (Barlow Twins, table 3).
    """

    data: Data = Data()
    classifier: Literal["linear", "svm"] = field(
        "linear", "linear: `probe`. svm: `svm`, for multi-label images."
    )
    probe: Probe = Probe()
    svm: Svm = Svm()


def papers_transfers() -> dict[str, Transfer]:
    """Return the data sets of table 3: Places205 and iNat18 with VISSL's linear protocol, VOC07 with SVMs."""
    vissl = Probe(
        learning_rate=0.01, scale_learning_rate=True, schedule="steps", weight_decay=5e-4, nesterov=True
    )
    return {
        # TFDS has no Places205: a folder of <split>/<class>/<image>.
        "places205": Transfer(
            Data(name="images", labels="folders", eval_split="val"),
            probe=dataclasses.replace(vissl, num_epochs=14),
        ),
        "voc07": Transfer(
            Data(name="voc/2007", train_split="train+validation", eval_split="test"), classifier="svm"
        ),
        "inat18": Transfer(Data(name="i_naturalist2018"), probe=dataclasses.replace(vissl, num_epochs=84)),
    }


@dataclasses.dataclass(frozen=True)
class Config(Record):
    """Configuration of a run."""

    seed: int = field(0, "Seed of the initialization, the data order and the augmentations.", min=0)
    eval_batch_size: int = field(1024, "Images per evaluation step, over all devices.", min=1)
    data: Data = Data()
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    network: Network = Network()
    objective: Objective = Objective()
    optim: Optim = Optim()
    train: Train = Train()
    adapt: Adapt = Adapt()
    mesh: Mesh = Mesh()
    checkpoint: Checkpoint = Checkpoint()
    monitor: Monitor = Monitor()
    probe: Probe = Probe()
    knn: Knn = Knn()
    finetune: Finetune = Finetune()
    retrieval: Retrieval = Retrieval()
    transfer: Mapping[str, Transfer] = dataclasses.field(default_factory=papers_transfers)
    distributed: Distributed = Distributed()

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views that the network sees: the recipe's images, and the caption if it reads one."""
        caption = {SECOND_VIEW} if self.network.reads_text else set()
        return tuple(sorted({*self.recipe.views, *caption}))
