"""Presets of the augmentation: valid for any number of channels, and what each kind of image rules out."""

import dataclasses

import pytest

from barlow_jax.config import overrides, presets
from barlow_jax.config.recipe import OPS, Recipe
from barlow_jax.config.schema import Config, Data
from barlow_jax.config.validation import Facts, validate

APPLIED = {
    "photographs": {"flip"},
    "microscopy": {"flip", "vertical_flip", "quarter_turn", "noise"},
    "satellite": {"flip", "vertical_flip", "quarter_turn", "noise"},
    "documents": {"rotate", "noise"},
}


@pytest.mark.parametrize("name", presets.PRESETS)
@pytest.mark.parametrize("channels", [1, 2, 3, 13])
def test_a_preset_is_valid_and_has_the_ops_of_its_images(name, channels):
    dtype = "uint8" if channels == 3 else "float32"
    data = Data(name="images", channels=channels, pixel_dtype=dtype, augment_on="device")
    made = presets.make(name, channels)
    assert not [p for p in validate(Config(data=data, recipe=made), Facts()) if ".recipe." in p]
    color = {"jitter", "grayscale"} if channels == 3 else {"brightness", "contrast", "gamma"}
    color |= {"channel_drop"} if channels in (2, 13) else set()
    for view in made.views.values():
        applied = {op for op in OPS if view.applies(op)} - {"solarize"}
        assert applied == APPLIED[name] | color | {"crop", "blur", "normalize"}
    tree = overrides.default_config()
    tree.recipe.views = dataclasses.asdict(made)["views"]
    assert overrides.from_tree(tree.to_dict())[0].recipe == made


def test_photographs_have_the_papers_recipe():
    assert presets.make("photographs") == Recipe()
