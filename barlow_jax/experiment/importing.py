"""Import of released weights as an encoder or as the start of a run."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from barlow_jax.config.method_facts import method_facts
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.interop import export_orbax, weights
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.interop.projector_layout import Projector
from barlow_jax.interop.weights import Weights
from barlow_jax.io import checksums, log
from barlow_jax.io.paths import Path
from barlow_jax.training.step import replace_weights
from barlow_jax.types import TrainState
from barlow_jax.workdir import saved_run


def import_weights(
    config: Config,
    path: Path,
    workdir: Path,
    *,
    form: Literal["encoder", "start"] | None = None,
    projector: bool = True,
) -> dict[str, Any]:
    """Write the encoder folder or the run; return what was taken from the file.

    Keys of the result: `as`, `weights`, `sha256`, `encoder` (keys of `config.network`), `channels` (of the
    first convolution in the file and in the encoder), `projector` (widths; None if the file's projector is
    not used), `initialized` (parts of the network that are not from the file), `ignored` (unused keys of the
    file, with the reason), `step`, `parameters` (count).
    """
    _check_workdir(workdir)
    imported = weights.read(path)
    encoders.check_file(path, imported.encoder, config)
    file_channels, channels = imported.encoder.channels, config.data.channels
    imported = imported._replace(encoder=imported.encoder.with_channels(channels))
    form = form or ("start" if imported.projector else "encoder")
    ignored = dict(imported.ignored)
    if imported.projector and (form == "encoder" or not projector):
        ignored["projector.*"] = "--as encoder" if projector else "--without-projector"
        imported = imported._replace(projector=None)
    if form == "start":
        state = initial_state(config, imported)
        export_orbax.save(workdir, config, 0, state.nonempty_fields())
        params = state.params
        initialized = [name for name in params if name not in _parts(imported)]
    else:
        params, batch_stats = {"encoder": imported.encoder.params}, {"encoder": imported.encoder.batch_stats}
        export_orbax.write(TrainedEncoder(config, params, batch_stats, step=0), workdir)
        initialized = []
    results = {
        "as": form,
        "weights": str(path),
        "sha256": checksums.sha256(path),
        "encoder": imported.encoder.network_keys | {"encoder": config.network.encoder},
        "channels": {"file": file_channels, "encoder": channels},
        "projector": imported.projector and list(imported.projector.shape.projector),
        "initialized": initialized,
        "ignored": ignored,
        "step": 0,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
    }
    log.info(summary(results, workdir))
    return results


def initial_state(config: Config, imported: Weights) -> TrainState:
    """Return the state of a run at step 0 with the imported arrays, the rest as `pretrain` initializes it.

    A target network and the averaged weights are copies of the network, as at the start of any run. With two
    branches (`network.branches=own`) the first one is imported.

    Raises:
      UserError: the projectors of file and config differ; names the keys to set.
    """
    if method_facts(config.objective.name).image_memory:
        raise UserError(
            f"{config.objective.name} has a memory of all images, which starts with a run. Set "
            "config.objective.name to another method, or import with --as encoder."
        )
    experiment = Experiment.on_one_device(config)
    sampler = experiment.sampler(config.train.batch_size)  # the state does not depend on the number of images
    state = experiment.init(sampler)(jax.random.key(config.seed))
    if imported.projector:
        _check_projector(config, imported.projector, state)
    parts = jax.device_put(_parts(imported), experiment.layout.replicated)
    params = {name: part for name, (part, _) in parts.items()}
    batch_stats = {name: part for name, (_, part) in parts.items() if part}
    return replace_weights(state, params, batch_stats, experiment.step_parts(sampler))


def summary(results: Mapping[str, Any], workdir: Path) -> str:
    """Return a summary of the import and the next command."""
    encoder, projector = results["encoder"], results["projector"]
    keys = (f"{key} {value}" for key, value in encoder.items() if key != "encoder")
    widths = f"; projector {', '.join(map(str, projector))}" if projector else ""
    lines = [", ".join([encoder["encoder"], *keys]) + widths]
    before, after = results["channels"].values()
    if before != after:
        lines.append(
            f"first convolution: the mean of its {before} channels in each of {after}, x {before}/{after}"
        )
    if results["initialized"]:
        lines.append(f"initialized, not from the file: {', '.join(results['initialized'])}")
    reasons: dict[str, list[str]] = {}
    for key, reason in results["ignored"].items():
        reasons.setdefault(reason, []).append(key)
    for reason, names in reasons.items():
        named = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}, {len(names)} keys"
        lines.append(f"ignored: {named} ({reason})")
    command = "pretrain" if results["as"] == "start" else "probe"
    return "\n".join([*lines, f"next: python -m barlow_jax {command} --workdir {workdir}"])


def _check_workdir(workdir: Path) -> None:
    existing = [name for name in saved_run.FILES if (workdir / name).is_file()]
    existing += [saved_run.CHECKPOINTS] if saved_run.checkpoint_steps(workdir) else []
    if existing:
        raise UserError(f"--workdir: {workdir} already holds a run ({existing[0]}). Use another workdir")


def _parts(imported: Weights) -> dict[str, tuple[Any, Any]]:
    """Return the imported parameters and running statistics, by the names of the parts in a state."""
    parts = {"encoder": imported.encoder, "projector": imported.projector}
    return {name: (part.params, part.batch_stats) for name, part in parts.items() if part}


def _check_projector(config: Config, projector: Projector, state: TrainState) -> None:
    ours = [tree.get("projector", {}) for tree in (state.params, state.batch_stats)]
    theirs = [projector.params, projector.batch_stats]
    if jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs):
        return
    settings = {key: v for key, v in projector.shape._asdict().items() if getattr(config.network, key) != v}
    if widths := settings.get("projector"):
        settings["projector"] = ",".join(map(str, widths))
    options = " ".join(f"--config.network.{key}={str(value).lower()}" for key, value in settings.items())
    raise UserError(
        f"the projector of the file differs from the one in the config. Pass {options} to use it, or "
        "--without-projector to initialize the config's"
    )
