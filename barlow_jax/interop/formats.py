"""Formats of `export`."""

from barlow_jax.io.paths import Path

# Module of `interop` by the name of the format. Its `write(trained, out)` fills an empty folder and returns
# entries for the results; `load` holds lines of code that load the export, with {out} for the folder's path.
FORMATS = {
    "orbax": "export_orbax",
    "torchvision": "export_state_dict",
    "timm": "export_timm",
    "original": "export_state_dict",
    "huggingface": "export_state_dict",
    "jax": "export_stablehlo",
    "savedmodel": "export_savedmodel",
    "onnx": "export_onnx",
}


def problems(format: str | None, out: str | None, checkpoint: str) -> list[str]:
    """Return what is wrong with the format, the folder to write or the checkpoint."""
    found, folder = [], out and Path(out)
    if format not in FORMATS:
        found.append(f"--format is {format or 'missing'}. Pass one of {', '.join(FORMATS)}.")
    if not folder:
        found.append("--out is missing. Pass the folder to write.")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        state = "is not empty" if folder.is_dir() else "is not a folder"
        found.append(f"--out {out} {state}. Pass a new or an empty folder.")
    if checkpoint not in ("newest", "best") and not checkpoint.isdecimal():
        found.append(f"--checkpoint is {checkpoint!r}, but must be newest, best or a step.")
    return found
