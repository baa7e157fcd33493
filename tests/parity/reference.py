"""Reference from the papers' equations and torch's modules; imports torch and nothing from this package."""

import math

import torch
from torch import nn

# Blocks per stage, and whether they are bottlenecks (He et al. 2015, table 1; resnet10 is our small one).
RESNETS = {"resnet10": ((1, 1, 1, 1), False), "resnet50": ((3, 4, 6, 3), True)}


class Block(nn.Module):
    """Residual block with torchvision's names; the stride is in the (first) 3x3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        layers = [(width, 3, stride), (outputs, 3, 1)]
        if bottleneck:
            layers = [(width, 1, 1), (width, 3, stride), (outputs, 1, 1)]
        self.depth, channels = len(layers), inputs
        for number, (features, kernel, step) in enumerate(layers, 1):
            conv = nn.Conv2d(channels, features, kernel, step, padding=kernel // 2, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(features))
            channels = features
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.depth + 1):
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            if number == self.depth:
                y = y + (x if self.downsample is None else self.downsample(x))
            y = torch.relu(y)
        return y


class ResNet(nn.Module):
    """Map `[B, 3, height, width]` to the pooled `[B, H]`."""

    def __init__(self, name: str, width: int = 64):
        super().__init__()
        blocks, bottleneck = RESNETS[name]
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False), nn.BatchNorm2d(width)
        self.pool, self.stages, channels = nn.MaxPool2d(3, 2, padding=1), [], width
        for stage, count in enumerate(blocks):
            layer = nn.Sequential()
            for index in range(count):
                stride = 2 if stage and not index else 1
                layer.append(Block(channels, width * 2**stage, stride, bottleneck))
                channels = width * 2**stage * (4 if bottleneck else 1)
            self.stages.append(f"layer{stage + 1}")
            self.add_module(self.stages[-1], layer)
        self.num_features = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return x.mean((2, 3))


def projector(widths: tuple[int, ...]) -> nn.Sequential:
    """Build a projector of widths (H, hidden, ..., D): Linear, BatchNorm, ReLU; then a Linear. No biases."""
    layers = []
    for inputs, outputs in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*widths[-2:], bias=False))


def barlow_twins_loss(z_a: torch.Tensor, z_b: torch.Tensor, weight: float) -> torch.Tensor:
    """Compute equation 1 with `[N, D]` embeddings standardized by a BatchNorm without affine."""
    norm = nn.BatchNorm1d(z_a.shape[1], affine=False, dtype=z_a.dtype)
    correlation = norm(z_a).T @ norm(z_b) / len(z_a)
    on_diagonal = torch.diagonal(correlation)
    off_diagonal = correlation - torch.diag(on_diagonal)
    return (on_diagonal - 1).square().sum() + weight * off_diagonal.square().sum()


class Lars(torch.optim.Optimizer):
    """LARS (You et al. 2017): m = momentum m + d and p = p - rate m.

    For weights d = q (g + wd p) with q = trust |p| / |g + wd p| (1 if a norm is 0). For biases and BatchNorms
    d = g.
    """

    def __init__(self, groups, weight_decay: float, momentum: float = 0.9, trust: float = 0.001):
        defaults = {"lr": 0.0, "weight_decay": weight_decay, "momentum": momentum, "trust": trust}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                d = p.grad.clone()
                if p.ndim != 1:
                    d += group["weight_decay"] * p
                    norms = torch.linalg.vector_norm(p), torch.linalg.vector_norm(d)
                    d *= group["trust"] * norms[0] / norms[1] if min(norms) > 0 else 1.0
                m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                m.mul_(group["momentum"]).add_(d)
                p.sub_(group["lr"] * m)


def learning_rate(step: int, peak: float, warmup: int, num_steps: int, final_scale: float = 0.001) -> float:
    """Return the rate at a step: linear from 0, then half a cosine to final_scale times the peak."""
    if step < warmup:
        return peak * step / warmup
    share = (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup))) / 2
    return peak * share + final_scale * peak * (1 - share)
