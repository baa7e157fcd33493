"""A ResNet in torchvision's keys: `encoder.safetensors`, and `encoder.pth` where torch is installed.

What torch, Detectron2's converter and `--encoder` read. Of an encoder that torchvision has no constructor for, the code
that is written beside it builds one.
"""

import importlib.util
import pathlib
import subprocess
import sys
from typing import Any

from safetensors.numpy import save

from barlow_jax.errors import UserError
from barlow_jax.interop import model_card
from barlow_jax.interop.encoder import Trained
from barlow_jax.interop.torchvision_layout import to_torchvision
from barlow_jax.networks.resnet import ENCODERS

WEIGHTS, PICKLED, CARD = "encoder.safetensors", "encoder.pth", "README.md"
_CONSTRUCTORS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_USUAL_EPSILON = 1e-5
# torch and TensorFlow in one process end it: in a process of its own.
_TO_PTH = "import sys, torch, safetensors.torch as s; torch.save(s.load_file(sys.argv[1]), sys.argv[2])"
_DETECTRON = """\
## Detection and segmentation

The paper's table 4 is Detectron2's, with this encoder under its C4 heads. In a checkout of Detectron2, this folder
at FOLDER and barlow_jax at BARLOW_JAX:

```
python tools/convert-torchvision-to-d2.py FOLDER/encoder.pth encoder.pkl
cp BARLOW_JAX/configs/detectron2/*.yaml configs/
python tools/train_net.py --num-gpus 8 --config-file configs/voc_c4.yaml    # VOC07+12
python tools/train_net.py --num-gpus 8 --config-file configs/coco_c4.yaml   # COCO
```"""


def write(trained: Trained, out: pathlib.Path) -> dict[str, Any]:
    """Fills the folder.

    Raises:
      UserError: the encoder is no ResNet.
    """
    if not trained.is_resnet:
        raise UserError(
            f"--format=torchvision: {trained.name} has no keys in torchvision's ResNet layout; use --format timm, orbax or jax"
        )
    tensors = to_torchvision(trained.params["encoder"], trained.batch_stats["encoder"])
    # save_file() would have it readable by its owner alone.
    (out / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    load = [*build(trained), f'model.load_state_dict(load_file("{{out}}/{WEIGHTS}"))  # strict']
    notes = [_DETECTRON + _pixels(trained)] if fits_detectron(trained) else []
    (out / CARD).write_text(
        model_card.text(trained, [line.replace("{out}/", "") for line in load], notes=notes)
    )
    if notes:
        load.append(f"# Detectron2: the commands are in {{out}}/{CARD}")
    return {"keys": len(tensors), **_write_pth(out), "load": load}


def build(trained: Trained) -> list[str]:
    """Lines of Python that make torchvision's `model`, with an Identity for its classifier; of 3 stages or another width
    than 64, by the parts of its class."""
    network = trained.config.network
    block, blocks = ENCODERS[trained.name]
    kind = "BasicBlock" if block.expansion == 1 else "Bottleneck"
    lines = ["import torch, torchvision", "from safetensors.torch import load_file"]
    epsilon = network.batch_norm_epsilon
    norm = "torch.nn.BatchNorm2d"
    if epsilon != _USUAL_EPSILON:
        lines.append(f"norm = lambda channels: torch.nn.BatchNorm2d(channels, eps={epsilon!r})")
        norm = "norm"
    more = f"norm_layer={norm}" if norm == "norm" else ""
    if trained.name in _CONSTRUCTORS:
        lines.append(f"model = torchvision.models.{trained.name}({more})")
    else:
        four = [*blocks, 1][:4]
        arguments = ", ".join(filter(None, (f"torchvision.models.resnet.{kind}", str(four), more)))
        lines.append(f"model = torchvision.models.ResNet({arguments})")
    width = network.width
    if network.stem == "cifar":
        lines.append(f"model.conv1 = torch.nn.Conv2d(3, {width}, 3, padding=1, bias=False)")
        lines.append("model.maxpool = torch.nn.Identity()")
    elif width != 64:
        lines.append(f"model.conv1 = torch.nn.Conv2d(3, {width}, 7, stride=2, padding=3, bias=False)")
    if width != 64:
        lines += [f"model.bn1, model.inplanes = {norm}({width}), {width}"]
        for stage, count in enumerate(blocks):
            stride = 2 if stage else 1
            lines.append(
                f"model.layer{stage + 1} = model._make_layer(torchvision.models.resnet.{kind}, {width * 2**stage}, {count}, "
                f"stride={stride})"
            )
    if len(blocks) == 3:
        lines.append("model.layer4 = torch.nn.Identity()")
    return [*lines, "model.fc = torch.nn.Identity()"]


def fits_detectron(trained: Trained) -> bool:
    """Whether it is the ResNet-50 of `configs/detectron2`."""
    network = trained.config.network
    return (trained.name, network.width, network.stem, network.batch_norm_epsilon) == (
        "resnet50",
        64,
        "imagenet",
        _USUAL_EPSILON,
    )


def _pixels(trained: Trained) -> str:
    """What Detectron2 is to be told of levels 0..255 where they are not ImageNet's."""
    levels = trained.normalize
    if levels == type(levels)():
        return ""
    mean, std = ([round(255 * value, 3) for value in values] for values in (levels.mean, levels.std))
    return (
        f'\n\nThis encoder was normalised otherwise than for ImageNet: add `MODEL.PIXEL_MEAN "{mean}" MODEL.PIXEL_STD '
        f'"{std}"` to both lines.'
    )


def _write_pth(out: pathlib.Path) -> dict[str, str]:
    """Adds the pickled state dict; where that cannot be, says why."""
    if importlib.util.find_spec("torch") is None:
        return {
            "pth": f"not written: torch is not installed here (pip install torch); {WEIGHTS} has the same"
        }
    command = [sys.executable, "-c", _TO_PTH, str(out / WEIGHTS), str(out / PICKLED)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        (out / PICKLED).unlink(missing_ok=True)
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {"pth": f"not written: torch failed ({why}); {WEIGHTS} has the same"}
    return {"pth": PICKLED}
