"""Formats "torchvision", "original" and "huggingface": a file of weights with the keys of `layout_tables`.

Files: `model.safetensors` and `README.md`. A file that was imported comes back byte for byte, without the
keys that the import ignored and without prefixes such as `module.`. A ResNet, for torch, Detectron2's
converter and `--encoder`, is `encoder.safetensors`, and `encoder.pth` if torch is installed; `README.md` has
the lines of Python that build the module, also where torchvision has no constructor.
"""

import importlib.util
import subprocess
import sys
from typing import Any

from safetensors.numpy import save

from barlow_jax.config.architectures import ResNetFacts
from barlow_jax.errors import UserError
from barlow_jax.interop import model_card
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io import files
from barlow_jax.io.paths import Path

WEIGHTS, PICKLED = "encoder.safetensors", "encoder.pth"
_CONSTRUCTORS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_USUAL_EPSILON = 1e-5
# Runs in a process of its own, because importing torch and TensorFlow in one process crashes it.
_TO_PTH = "import sys, torch, safetensors.torch as s; torch.save(s.load_file(sys.argv[1]), sys.argv[2])"
_DETECTRON = """\
## Detection and segmentation

Table 4 of the Barlow Twins paper uses Detectron2 with this encoder under C4 heads. In a checkout of
Detectron2, with this folder at FOLDER and the barlow_jax repository at BARLOW_JAX:

```
python tools/convert-torchvision-to-d2.py FOLDER/encoder.pth encoder.pkl
cp BARLOW_JAX/configs/detectron2/*.yaml configs/
python tools/train_net.py --num-gpus 8 --config-file configs/voc_c4.yaml    # VOC07+12
python tools/train_net.py --num-gpus 8 --config-file configs/coco_c4.yaml   # COCO
```"""


def write(trained: TrainedEncoder, out: Path, format: str = "torchvision") -> dict[str, Any]:
    """Write the folder.

    Raises:
      UserError: the format has no such encoder.
    """
    facts, notes, more = trained.facts, [], {}
    if facts is None or getattr(facts, "positions", "") == "sincos":
        timm = "--format=timm, " if facts else ""
        others = f"{timm}--format=orbax, --format=jax or --format=onnx"
        raise UserError(f"--format={format} has no {trained.name}. Use {others}")
    tensors, name = trained.tensors(format), "model.safetensors"
    load = ["from safetensors.torch import load_file", f'state_dict = load_file("{{out}}/{name}")']
    if isinstance(facts, ResNetFacts):
        name = WEIGHTS
        load = [
            *construction_code(trained),
            f'model.load_state_dict(load_file("{{out}}/{WEIGHTS}"))  # strict',
        ]
        notes = [_DETECTRON + _pixels(trained)] if fits_detectron(trained) else []
    # save_file() would create a file that only its owner can read.
    (out / name).write_bytes(save(tensors, metadata={"format": "pt"}))
    card = model_card.text(trained, [line.replace("{out}/", "") for line in load], notes=notes)
    files.write_text(out / "README.md", card)
    if isinstance(facts, ResNetFacts):
        more = _write_pth(out)
    if notes:
        load.append("# Detectron2: the commands are in {out}/README.md")
    return {"keys": len(tensors), **more, "load": load}


def construction_code(trained: TrainedEncoder) -> list[str]:
    """Return lines of Python that build torchvision's `model` with an Identity as its classifier.

    For three stages, or a width other than 64, parts of torchvision's class are replaced after construction.
    """
    network = trained.config.network
    facts = trained.facts
    blocks, width, channels = facts.blocks, facts.width, trained.config.data.channels
    kind = f"torchvision.models.resnet.{'Bottleneck' if facts.bottleneck else 'BasicBlock'}"
    lines = ["import torch, torchvision", "from safetensors.torch import load_file"]
    norm, more = "torch.nn.BatchNorm2d", ""
    if network.batch_norm_epsilon != _USUAL_EPSILON:
        lines.append(f"norm = lambda channels: {norm}(channels, eps={network.batch_norm_epsilon!r})")
        norm, more = "norm", "norm_layer=norm"
    if trained.name in _CONSTRUCTORS:
        lines.append(f"model = torchvision.models.{trained.name}({more})")
    else:
        arguments = ", ".join(filter(None, (kind, str([*blocks, 1][:4]), more)))
        lines.append(f"model = torchvision.models.ResNet({arguments})")
    if facts.stem == "cifar":
        lines.append(f"model.conv1 = torch.nn.Conv2d({channels}, {width}, 3, padding=1, bias=False)")
        lines.append("model.maxpool = torch.nn.Identity()")
    elif (width, channels) != (64, 3):
        lines.append(
            f"model.conv1 = torch.nn.Conv2d({channels}, {width}, 7, stride=2, padding=3, bias=False)"
        )
    if width != 64:
        lines += [f"model.bn1, model.inplanes = {norm}({width}), {width}"]
        for stage, count in enumerate(blocks):
            arguments = f"{kind}, {width * 2**stage}, {count}, stride={2 if stage else 1}"
            lines.append(f"model.layer{stage + 1} = model._make_layer({arguments})")
    if len(blocks) == 3:
        lines.append("model.layer4 = torch.nn.Identity()")
    return [*lines, "model.fc = torch.nn.Identity()"]


def fits_detectron(trained: TrainedEncoder) -> bool:
    """Return whether the encoder is the ResNet-50 of `configs/detectron2`."""
    network, data = trained.config.network, trained.config.data
    kind = trained.name, network.width, network.stem, network.batch_norm_epsilon, data.pixel_dtype
    return kind == ("resnet50", 64, "imagenet", _USUAL_EPSILON, "uint8")


def _pixels(trained: TrainedEncoder) -> str:
    """Return the note on Detectron2's pixel mean and std (0..255) if they differ from ImageNet's."""
    normalize = trained.normalize
    if normalize == type(normalize)():
        return ""
    mean, std = ([round(255 * value, 3) for value in values] for values in (normalize.mean, normalize.std))
    return (
        f'\n\nThis encoder is not normalized like ImageNet: add `MODEL.PIXEL_MEAN "{mean}" MODEL.PIXEL_STD '
        f'"{std}"` to both training commands.'
    )


def _write_pth(out: Path) -> dict[str, str]:
    """Write the pickled state dict; return its name, or the reason why it was not written."""
    if importlib.util.find_spec("torch") is None:
        return {"pth": f"not written, because torch is not installed (pip install torch); use {WEIGHTS}"}
    command = [sys.executable, "-c", _TO_PTH, str(out / WEIGHTS), str(out / PICKLED)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        (out / PICKLED).unlink(missing_ok=True)
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {"pth": f"not written, because torch failed ({reason}); use {WEIGHTS}"}
    return {"pth": PICKLED}
