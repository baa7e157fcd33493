"""The flags of each program; what they share comes first."""

import argparse

from barlow_jax.cli.registry import PROGRAMS
from barlow_jax.config.methods import REQUIREMENTS
from barlow_jax.distributed import process_flags
from barlow_jax.interop import FORMATS
from barlow_jax.papers.ablations import GROUPS


def add(parser: argparse.ArgumentParser, program: str) -> None:
    """Adds a program's flags; every program's arguments have all the names that the others look for."""
    without = "the defaults" if program == "bench" else "the one of the workdir"
    names = ("--base", "--config") if program == "ablate" else ("--config",)
    parser.add_argument(*names, dest="config", metavar="FILE", help=f"config file; default: {without}")
    if program == "report":
        parser.add_argument(
            "--workdir",
            nargs="+",
            action=_Several,
            metavar="DIR",
            help="of the run; more are drawn beside it",
        )
    else:
        parser.add_argument("--workdir", metavar="DIR", help="checkpoints, metrics and results of the run")
    parser.set_defaults(
        features="pretrained", encoder=None, weights=None, topology=None, sweep=None, dry_run=False
    )
    if program in ("plan", "bench"):
        parser.add_argument(
            "--topology", help="what to compile for: v5e:8x8, v4:2x2x4, v5e:16x16*2 (two slices)"
        )
    if not PROGRAMS[program].alone:
        parser.add_argument(
            "--dry-run", action="store_true", help="print config, parameters and plan; do nothing"
        )
        process_flags.add(parser)
    if PROGRAMS[program].encoder:
        _add_encoder(parser, program)
    if program in _OWN:
        _OWN[program](parser)


def _add_encoder(parser: argparse.ArgumentParser, program: str) -> None:
    parser.add_argument(
        "--encoder",
        metavar="PATH",
        help="another run's workdir, one of its checkpoints (RUN/checkpoints/STEP), an encoder folder, or a ResNet in "
        "torchvision's layout (.safetensors; .pth where torch is installed)",
    )
    if program in ("evaluate", "export"):  # it shows them all; it takes the trained one
        return
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--untrained",
        dest="features",
        action="store_const",
        const="untrained",
        help="of the encoder before training: the honest baseline",
    )
    if program != "finetune":
        which.add_argument(
            "--pixels",
            dest="features",
            action="store_const",
            const="pixels",
            help="of the image itself, without an encoder",
        )


def _add_pretrain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resume",
        choices=("auto", "never", "must"),
        default="auto",
        help="auto: goes on from the workdir's newest good checkpoint, where there is one; never: refuses a workdir "
        "that has any; must: refuses one that has none",
    )


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="in torchvision's layout, or the official full checkpoint: .safetensors; .pth, .pt or .pth.tar where torch "
        "is installed",
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=("encoder", "start"),
        help="encoder: for the evaluations and export; start: a run at step 0, which pretrain goes on from; default: "
        "start where the file has a projector",
    )
    parser.add_argument(
        "--without-projector",
        action="store_true",
        help="start: leaves the file's projector out; the config's is a fresh one",
    )


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        metavar="NAMES",
        help="of config.transfer, separated by commas; default: those that are at hand",
    )


def _add_embed(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--split", metavar="NAME", help="of the config's data set; default: config.data.eval_split"
    )
    which.add_argument(
        "--images",
        metavar="DIR",
        help="all images in this folder and in those below it, instead; they need no classes",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help=".npz or .parquet: features, labels where there are any, names and index of the images",
    )
    parser.add_argument(
        "--nearest",
        type=int,
        metavar="K",
        help="also a contact sheet beside it, FILE's name with .nearest.png: the K nearest other images of a few",
    )
    parser.add_argument(
        "--queries",
        type=int,
        default=8,
        metavar="N",
        help="rows of that sheet, spread evenly over the images; default: 8",
    )


def _add_ablate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        metavar="GROUPS",
        help=f"of the paper's ablations, separated by commas: {', '.join(GROUPS)}; default: all",
    )


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--objectives",
        metavar="NAMES",
        help=f"separated by commas, of {', '.join(REQUIREMENTS)}, and of any other that has a config beside the base; "
        "default: those named here",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each, from config.seed on")


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("loss", "input", "augment", "checkpoint"), help="what to measure")
    parser.add_argument("--rows", default="256,1024", help="loss: batch sizes N, separated by commas")
    parser.add_argument("--widths", default="1024,2048,4096,8192", help="loss: embedding widths D")
    parser.add_argument(
        "--images", type=int, default=250, metavar="N", help="input: pairs to time, three times"
    )
    parser.add_argument(
        "--state-mb",
        type=float,
        default=400,
        metavar="MB",
        help="checkpoint: size of the state; 0: that of the config's own; default: 400",
    )
    parser.add_argument(
        "--step-seconds",
        type=float,
        metavar="S",
        help="checkpoint: of a step, for the share that a save takes",
    )


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--part",
        choices=("step", "head", "loss"),
        default="step",
        help="the whole step, from representations to LARS, or the loss alone (seconds)",
    )
    parser.add_argument(
        "--sweep",
        metavar="LIST",
        help="one table of topologies (v5e:4x4,v5e:8x8) or of values of a key (train.batch_size=2048,4096)",
    )
    parser.add_argument(
        "--images-per-chip", type=int, metavar="N", help="the batch size is N times the chips"
    )


class _Several(argparse.Action):
    """`workdir` is the first of several, as every program has one; `workdirs` are all."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.workdir, namespace.workdirs = values[0], values


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FILE", help=".html; default: report.html in the (first) workdir")
    parser.add_argument(
        "--chip-hour-price", type=float, metavar="P", help="of a chip for an hour, in any currency"
    )
    parser.add_argument(
        "--no-images",
        dest="images",
        action="store_false",
        help="of files alone, in seconds: nothing that needs the data set and the checkpoints",
    )


def _add_show_views(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FILE", help=".png, .pdf or .svg; default: views.png in the workdir")
    parser.add_argument("--images", type=int, default=8, metavar="N", help="rows of the sheet")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=tuple(FORMATS), help="of the files; needed")
    parser.add_argument("--out", metavar="DIR", help="folder to write, new or empty; needed")
    parser.add_argument(
        "--checkpoint",
        metavar="STEP",
        default="newest",
        help="newest: the newest good one; best: the one with the highest k-NN accuracy in metrics.jsonl; or a step",
    )
    parser.add_argument(
        "--license",
        default="other",
        help="of the weights, for the model card, as the Hugging Face Hub spells it (mit, cc-by-nc-4.0); default: other",
    )


_OWN = {
    "pretrain": _add_pretrain,
    "show-views": _add_show_views,
    "import": _add_import,
    "transfer": _add_transfer,
    "embed": _add_embed,
    "ablate": _add_ablate,
    "compare": _add_compare,
    "bench": _add_bench,
    "plan": _add_plan,
    "export": _add_export,
    "report": _add_report,
}
