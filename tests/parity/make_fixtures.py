"""Writes torch's results for the same inputs: `python tests/parity/make_fixtures.py [folder]`.

One `.npz` per case, with the versions of torch and NumPy. Everything is computed in float64; for ResNet-50
`float32/` has the distance of torch's own float32. Only torch and NumPy are imported: TensorFlow, JAX and
torch in one process crash.
"""

import pathlib
import sys

import inputs
import numpy as np
import reference
import torch
from torch import nn


def main(folder: pathlib.Path) -> None:
    versions = {"torch_version": torch.__version__, "numpy_version": np.__version__}
    for make in (loss, lars, rates, projector, resnet50, twins):
        np.savez_compressed(folder / f"{make.__name__}.npz", **versions, **make())


def loss() -> dict[str, np.ndarray]:
    """Return the loss and both gradients for each shape."""
    out = {}
    for rows, width in inputs.LOSS_SHAPES:
        z_a, z_b = (_leaf(z) for z in inputs.embeddings(rows, width))
        value = reference.barlow_twins_loss(z_a, z_b, inputs.OFF_DIAGONAL_WEIGHT)
        value.backward()
        for name, tensor in {"loss": value, "gradient_a": z_a.grad, "gradient_b": z_b.grad}.items():
            out[f"{rows}x{width}/{name}"] = _numpy(tensor)
    return out


def lars() -> dict[str, np.ndarray]:
    """Return `[steps, ...]` parameters after each step, for each weight decay."""
    out = {}
    for weight_decay in inputs.WEIGHT_DECAYS:
        params = {name: _leaf(inputs.lars_start(name)) for name in inputs.LARS_SHAPES}
        optimizer = reference.Lars(_groups(params.values()), weight_decay)
        history = {name: [] for name in params}
        for step in range(inputs.LARS_STEPS):
            for name, p in params.items():
                p.grad = torch.tensor(inputs.lars_gradient(name, step), dtype=p.dtype)
            _set_rates(optimizer, step, inputs.PEAKS, inputs.LARS_WARMUP, inputs.LARS_STEPS)
            optimizer.step()
            for name, p in params.items():
                history[name].append(_numpy(p))
        out |= {f"{weight_decay:g}/{name}": np.stack(values) for name, values in history.items()}
    return out


def rates() -> dict[str, np.ndarray]:
    """Return both groups' learning rates at every step of a short run."""
    steps, warmup = (n * inputs.STEPS_PER_EPOCH for n in (inputs.EPOCHS, inputs.WARMUP_EPOCHS))
    return {
        name: np.array([reference.learning_rate(step, peak, warmup, steps) for step in range(steps)])
        for name, peak in inputs.PEAKS.items()
    }


def projector() -> dict[str, np.ndarray]:
    """Return embeddings, running statistics and gradients of an inner product, in training mode."""
    model = _load(reference.projector(inputs.PROJECTOR).double())
    x = _leaf(inputs.images("representations", (inputs.PROJECTOR_ROWS, inputs.PROJECTOR[0])))
    z = model(x)
    z.backward(torch.tensor(inputs.direction("embeddings", z.shape)))
    out = {"embeddings": _numpy(z), "gradient": _numpy(x.grad)}
    out |= {f"gradient/{key}": _numpy(p.grad) for key, p in model.named_parameters()}
    return out | {f"after/{key}": _numpy(t) for key, t in _averages(model).items()}


def resnet50() -> dict[str, np.ndarray]:
    """Return features and summaries of the gradients of their inner product with signs, in both modes.

    In training mode running statistics are summarized too. `float32/` is the relative distance of float32.
    """
    images = torch.tensor(inputs.images("images", inputs.RESNET50_IMAGES))
    passes, averages = {}, {}
    for dtype in (torch.float64, torch.float32):
        model = _load(reference.ResNet("resnet50").to(dtype))
        counts, layout = _count_positions(model), _layout(model)
        for mode in ("eval", "train"):  # in this order: only training changes the statistics
            model.train(mode == "train").zero_grad()
            features = model(images.to(dtype))
            features.backward(torch.tensor(inputs.direction("features", features.shape)).to(dtype))
            gradients = {key: _numpy(p.grad) for key, p in model.named_parameters()}
            passes[mode, dtype] = _numpy(features), gradients
        averages[dtype] = {key: _numpy(t) for key, t in _averages(model).items()}
    out = layout | counts | {"averages": inputs.summary(averages[torch.float64])}
    out["float32/averages"] = _distances(*(averages[dtype] for dtype in (torch.float32, torch.float64)))
    for mode in ("eval", "train"):
        features, gradients = passes[mode, torch.float64]
        features32, gradients32 = passes[mode, torch.float32]
        out[f"{mode}/features"], out[f"{mode}/gradients"] = features, inputs.summary(gradients)
        out[f"float32/{mode}/features"] = _distances({"": features32}, {"": features})[0]
        out[f"float32/{mode}/gradients"] = _distances(gradients32, gradients)
    return out


def twins() -> dict[str, np.ndarray]:
    """Return training steps of the official model: encoder and projector once per view, loss, LARS.

    For each step: the loss, its gradients, the parameters' change since the start and the running statistics.
    """
    encoder = reference.ResNet(inputs.TWINS["encoder"], inputs.TWINS["width"])
    head = reference.projector((encoder.num_features, *inputs.TWINS["projector"]))
    model = _load(nn.ModuleDict({"backbone": encoder, "projector": head}).double())
    optimizer = reference.Lars(_groups(model.parameters()), inputs.WEIGHT_DECAYS[0])
    counts, out = _count_positions(model), _layout(model)
    start = {key: _numpy(p) for key, p in model.named_parameters()}
    for step in range(inputs.TWINS_STEPS):
        optimizer.zero_grad()
        views = [
            head(encoder(torch.tensor(inputs.images(f"view {view} of {step}", inputs.TWINS_IMAGES)).double()))
            for view in "ab"
        ]
        value = reference.barlow_twins_loss(*views, inputs.OFF_DIAGONAL_WEIGHT)
        value.backward()
        _set_rates(optimizer, step, inputs.PEAKS, 1, inputs.TWINS_STEPS)
        optimizer.step()
        gradients = {key: _numpy(p.grad) for key, p in model.named_parameters()}
        out[f"{step}/loss"] = _numpy(value)
        out[f"{step}/gradients"] = inputs.summary(gradients)
        moved = {key: _numpy(p) - start[key] for key, p in model.named_parameters()}
        out[f"{step}/moved"] = inputs.summary(moved)
        for key, t in _averages(model).items():
            out[f"{step}/averages/{key}"] = _numpy(t)
        if step == 0:
            for key in ("backbone.conv1.weight", f"projector.{len(head) - 1}.weight"):
                out[f"gradient/{key}"] = gradients[key]
    return out | counts


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()


def _distances(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([np.linalg.norm(actual[key] - e) / np.linalg.norm(e) for key, e in expected.items()])


def _leaf(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def _load(model: nn.Module) -> nn.Module:
    """Return the model in training mode, with weights generated from the names of its state dict."""
    state = model.state_dict()
    for key, tensor in state.items():
        if tensor.is_floating_point():
            state[key] = torch.tensor(inputs.weight(key, tuple(tensor.shape)))
    model.load_state_dict(state)
    return model.train()


def _layout(model: nn.Module) -> dict[str, np.ndarray]:
    """Return the state dict's keys and shapes, and the parameter names in the order of the summaries."""
    state = model.state_dict()
    return {
        "keys": np.array(list(state)),
        "shapes": np.array([" ".join(map(str, t.shape)) for t in state.values()]),
        "parameters": np.array([key for key, _ in model.named_parameters()]),
        "statistics": np.array(list(_averages(model))),
    }


def _averages(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: t for key, t in model.state_dict().items() if key.endswith(("running_mean", "running_var"))}


def _count_positions(model: nn.Module) -> dict[str, np.ndarray]:
    """Return n of each BatchNorm after a forward pass, values per channel: "n/layer1.0.bn1"."""
    counts = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):

            def count(module, args, name=name):
                counts[f"n/{name}"] = np.array(args[0].numel() // module.num_features)

            module.register_forward_pre_hook(count)
    return counts


def _groups(params) -> list[dict]:
    """Return the parameter groups: weights, then biases with BatchNorms."""
    params = list(params)
    return [{"params": [p for p in params if p.ndim != 1]}, {"params": [p for p in params if p.ndim == 1]}]


def _set_rates(optimizer, step: int, peaks: dict[str, float], warmup: int, steps: int) -> None:
    for group, peak in zip(optimizer.param_groups, (peaks["weights"], peaks["biases"]), strict=True):
        group["lr"] = reference.learning_rate(step, peak, warmup, steps)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if sys.argv[1:] else pathlib.Path(__file__).parent)
