"""Every knob of a run, typed, with its unit and its default. The defaults are the ImageNet recipe.

Barlow Twins (Zbontar et al. 2021), 1000 epochs, as in the official code where paper and code differ.
"""

from collections.abc import Mapping
import dataclasses
from typing import Literal

from barlow_jax.config import methods
from barlow_jax.config.evaluation import Finetune, Knn, Probe, Retrieval, Svm
from barlow_jax.config.recipe import SECOND_VIEW, Recipe


@dataclasses.dataclass(frozen=True)
class Data:
    # "digits", "captioned_digits", "folder", "arrays", or any image data set that TFDS knows
    name: str = "imagenet2012"
    # TFDS's data_dir; for "folder" the root of <split>/<class>/<image>, for "arrays" of <split>.npz (data/npz.py)
    data_dir: str | None = None
    train_split: str = "train"
    eval_split: str = "validation"
    image_size: int = 224  # pixels a side that the network sees
    eval_resize: int = 256  # pixels of the shorter side before the central crop of image_size
    # Where views are made of a decoded image: in tf.data, or in JAX as a part of the step. The law is the same; the
    # draws are not.
    augment_on: Literal["host", "device"] = "host"
    canvas: int = 512  # pixels a side of what the host hands over, augment_on device
    # What is kept in memory. encoded: on this host, each record or file that was read once, in the end all of them
    # (ImageNet: 140 GB). decoded: pretrain holds all training images on every device, canvas x canvas x 3 bytes
    # each (CIFAR-10 at 32 pixels: 154 MB), and a step is given their numbers.
    cache: Literal["none", "encoded", "decoded"] = "none"
    threads: int = 0  # of tf.data on this host; 0 = one per core
    prefetch: int = 2  # batches made ahead
    # Images of a split that cannot be decoded, more than which stop the program; none: any number. A
    # thousandth of ImageNet: what a crawl of the web always has, and far less than a copy that broke off
    # leaves. In a pod each process counts those that it met.
    max_decode_failures: int | None = 1000
    # Words of a caption, which is view b; longer ones are cut. 0: captions are not read (data/captions.py).
    caption_words: int = 0
    caption_min_count: int = 4  # times that the training captions have a word of the vocabulary (VSE++'s)


@dataclasses.dataclass(frozen=True)
class Text:
    """The encoder of captions: a word embedding and a GRU. Defaults: VSE++ (Faghri et al. 2018)."""

    # Rows of the table. Word ids are in the order of frequency, and those beyond it are the unknown word.
    vocabulary_size: int = 16384
    embedding_size: int = 300  # of a word
    hidden_size: int = 1024  # H, the state after the last word


TEXT_ENCODER = "gru"


@dataclasses.dataclass(frozen=True)
class Network:
    encoder: Literal[
        "resnet8",
        "resnet10",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnet200",
        "vit_tiny",
        "vit_small",
        "vit_base",
    ] = "resnet50"
    width: int = 64  # of a ResNet, channels of the first stage: 64 is x1, 128 x2, 256 x4
    stem: Literal["imagenet", "cifar"] = "imagenet"  # of a ResNet: 7x7/2 + max-pool, or 3x3/1
    patch: int = 16  # of a vision transformer, pixels a side
    # View b through the network of the others, or through one of its own, of the same kind or with another encoder.
    branches: Literal["shared", "own"] = "shared"
    second_encoder: str | None = None  # one of those above, or "gru", which reads captions
    text: Text = Text()  # of the gru
    projector: tuple[int, ...] = (8192, 8192, 8192)  # widths; the last one is the embedding's D
    projector_batch_norm: bool = True  # after each hidden layer, of the predictor too
    projector_biases: Literal["none", "hidden", "all"] = "none"  # of its layers, of the predictor's too
    projector_output_norm: bool = False  # a BatchNorm without scale and shift on the embedding
    predictor: tuple[int, ...] = ()  # widths of a second such head, on the embedding; none by default
    prototypes: int = 0  # K unit vectors that the embedding, on the unit sphere, is held against; 0 = none
    num_classes: int = 0  # outputs of a linear classifier on the representation; 0 = none
    dtype: Literal["float32", "bfloat16"] = "bfloat16"  # of the computation; parameters are float32
    batch_norm_momentum: float = 0.9  # of the running averages (torch's 0.1)
    batch_norm_epsilon: float = 1e-5
    remat: bool = False  # recompute the activations of each block in the backward pass: memory for time

    @property
    def reads_text(self) -> bool:
        """View b is a caption."""
        return self.branches == "own" and self.second_encoder == TEXT_ENCODER


@dataclasses.dataclass(frozen=True)
class Objective:
    """The method, and the settings of each."""

    name: str = "barlow_twins"  # of a file in barlow_jax/objectives
    scale: float = 1.0  # factor of the whole loss
    # Where features are correlated with features: D x D or N x N matrices, auto the cheaper; and what the large
    # products read.
    form: Literal["auto", "direct", "gram"] = "auto"
    operand_dtype: Literal["float32", "bfloat16"] = "float32"
    barlow_twins: methods.BarlowTwins = methods.BarlowTwins()
    vicreg: methods.Vicreg = methods.Vicreg()
    w_mse: methods.WMse = methods.WMse()
    simclr: methods.Simclr = methods.Simclr()
    byol: methods.Byol = methods.Byol()
    simsiam: methods.Simsiam = methods.Simsiam()
    moco: methods.Moco = methods.Moco()
    swav: methods.Swav = methods.Swav()


@dataclasses.dataclass(frozen=True)
class Optim:
    name: Literal["lars", "sgd", "adamw"] = "lars"
    learning_rate: float = 0.2  # peak, per 256 images
    bias_learning_rate: float | None = 0.0048  # of biases and BatchNorm; none = learning_rate
    # Of every gradient, before anything else. The official code, on W processes, applies 1/W of the true
    # gradient: LARS cancels that for weights, and nothing does for biases and BatchNorm.
    grad_scale: float = 1.0
    momentum: float = 0.9  # lars and sgd; beta 1 of adamw
    weight_decay: float = 1e-6  # never on biases and BatchNorm
    trust_coefficient: float = 0.001  # lars
    trust_clip: bool = False  # lars: the layer's rate is never above the plain one
    warmup_epochs: float = 10.0  # linear from 0
    final_scale: float = 0.001  # of the peak, where the half cosine ends


@dataclasses.dataclass(frozen=True)
class Train:
    num_epochs: float = 1000.0  # length of the schedule
    batch_size: int = 2048  # images a step, over all devices
    microbatches: int = 1  # that a batch goes through the network in; the loss is that of the batch
    max_steps: int | None = None  # stop here; the schedule stays that of num_epochs
    log_every_steps: int = 50
    # Steps in a row whose loss or gradient is not finite, which are not taken, until the run stops; none: any
    # number. What one bad batch or a burst of bad hardware leaves behind is over sooner; a run that diverged stays so.
    max_skipped_steps: int | None = 10
    # Folder of compiled programs, which a restart loads; none: compiles again. Code that is run as it is: write to it
    # alone. On machines that come and go, and on several hosts, a mounted folder that all of them see.
    compilation_cache: str | None = "~/.cache/barlow_jax"


@dataclasses.dataclass(frozen=True)
class Mesh:
    # Groups of devices, each with the whole projector; none: the slices that the devices say they are on.
    # From 256 chips on, groups within one slice keep a sharded projector's gathers short.
    slices: int | None = None
    # Projector weights on every chip, or split by output features over the chips of a slice; auto: what
    # costs a chip less (mesh.choose_projector).
    projector: Literal["auto", "replicated", "sharded"] = "auto"
    # How embeddings reach the loss: resharded by features, or by rows as they are; then the chips sum
    # the D x D matrix (direct) or gather each other's embeddings (gram).
    embeddings: Literal["features", "rows"] = "features"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    every_epochs: float = 1.0  # and always at the end
    keep_newest: int = 2  # 1 leaves none to go back to where the newest is damaged
    keep_every_epochs: float | None = 100.0  # of these all are kept


@dataclasses.dataclass(frozen=True)
class Monitor:
    """The k-NN accuracy that is measured while training goes on."""

    every_epochs: float = 10.0  # 0 = never
    k: int = 20
    max_images: int = 10_000  # of each split


@dataclasses.dataclass(frozen=True)
class Transfer:
    """Another data set, with labels, on which the frozen encoder is judged."""

    data: Data = Data()
    classifier: Literal["linear", "svm"] = "linear"  # svm: of images with several labels
    probe: Probe = Probe()
    svm: Svm = Svm()


def papers_transfers() -> dict[str, Transfer]:
    """Table 3 of the paper: Places205 and iNat18 with VISSL's linear protocol, VOC07 with SVMs."""
    visual = Probe(
        learning_rate=0.01, scale_learning_rate=True, schedule="steps", weight_decay=5e-4, nesterov=True
    )
    return {
        # TFDS has no Places205: a folder of <split>/<class>/<image>.
        "places205": Transfer(
            Data(name="folder", eval_split="val"), probe=dataclasses.replace(visual, num_epochs=14)
        ),
        "voc07": Transfer(
            Data(name="voc/2007", train_split="train+validation", eval_split="test"), classifier="svm"
        ),
        "inat18": Transfer(Data(name="i_naturalist2018"), probe=dataclasses.replace(visual, num_epochs=84)),
    }


@dataclasses.dataclass(frozen=True)
class Distributed:
    """Several processes, one a host. Where no cluster tells who they are, --coordinator and its like do."""

    detect: bool = True  # join those of a TPU slice, a GKE job or a Slurm step, where there is one
    initialization_timeout_s: int = 300  # that processes wait for each other at the start
    heartbeat_timeout_s: int = 100  # who is silent for so long is dead, and the others end too
    shutdown_timeout_s: int = 300  # that a process which is done waits for the others


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 0  # of the initialisation, the data order and the augmentations
    eval_batch_size: int = 1024
    data: Data = Data()
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    network: Network = Network()
    objective: Objective = Objective()
    optim: Optim = Optim()
    train: Train = Train()
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
        """Names of what the network sees of an example: the recipe's images, and the caption where it reads one."""
        return tuple(
            sorted({*self.recipe.views, SECOND_VIEW} if self.network.reads_text else self.recipe.views)
        )
