"""Export formats, one module each.

Each module has `write(trained, out)`, which fills an empty folder and returns entries for the results. The
entry `load` holds the lines of code that load the export; `{out}` in them stands for the final path of the
folder.
"""

# Module of this package by the name of the format.
FORMATS = {
    "orbax": "export_orbax",
    "torchvision": "export_torchvision",
    "timm": "export_timm",
    "jax": "export_stablehlo",
    "savedmodel": "export_savedmodel",
}
