"""A trained encoder in the form that other tools read: one file a format.

Each has `write(trained, out)`, which fills an empty folder and returns what the results say of it; `load` among that
is how to load it, lines of code in which `{out}` stands for the folder's final place.
"""

# The module of each format.
FORMATS = {
    "orbax": "export_orbax",
    "torchvision": "export_torchvision",
    "timm": "export_timm",
    "jax": "export_stablehlo",
    "savedmodel": "export_savedmodel",
}
