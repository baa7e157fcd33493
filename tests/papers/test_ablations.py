"""Each ablation differs from the paper's base only in the keys that it lists."""

import dataclasses
import pathlib

import pytest

from barlow_jax.config.overrides import from_tree, load_config_file, to_config_dict
from barlow_jax.config.records import flatten
from barlow_jax.config.validation import Facts, validate
from barlow_jax.papers.ablations import ABLATIONS, GROUPS

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def _load(name):
    config_dict, problems = load_config_file(str(CONFIGS / f"{name}.py"))
    config, more = from_tree(config_dict.to_dict())
    assert not problems + more
    return config


def _flat(config):
    return flatten(to_config_dict(config).to_dict())


BASE = _load("ablations")
IDS = [f"{a.group}/{a.name}" for a in ABLATIONS]


def test_the_base_is_the_papers_recipe_for_300_epochs():
    base, full = _flat(BASE), _flat(_load("imagenet"))
    assert {key for key in base if base[key] != full[key]} == {"train.num_epochs"}
    assert BASE.train.num_epochs == 300


@pytest.mark.parametrize("ablation", ABLATIONS, ids=IDS)
def test_an_ablation_changes_the_fields_that_it_lists_and_no_other(ablation):
    base, changed = _flat(BASE), _flat(ablation.apply(BASE))
    assert {key for key in base if base[key] != changed[key]} == set(ablation.changes)
    for augment_on in ("host", "device"):
        data = dataclasses.replace(BASE.data, augment_on=augment_on)
        case = ablation.apply(dataclasses.replace(BASE, data=data))
        assert case.data.augment_on == augment_on
        assert not validate(case, Facts(32, {"train": 1_281_167}))


def test_names_are_unique_and_every_group_of_the_paper_exists():
    assert len(set(IDS)) == len(IDS)
    assert GROUPS == (
        "loss",
        "asymmetry",
        "batch_size",
        "augmentation",
        "width",
        "depth",
        "lambda",
        "correlation",
    )


@pytest.mark.parametrize(
    ("size", "rate", "top1"),
    [(128, 0.7, 69.7), (256, 0.4, 70.7), (512, 0.3, 71.4), (1024, 0.25, 71.7), (4096, 0.2, 70.7)],
)
def test_batch_sizes_have_the_authors_rates(size, rate, top1):
    (ablation,) = (a for a in ABLATIONS if (a.group, a.name) == ("batch_size", str(size)))
    config = ablation.apply(BASE)
    assert (config.train.batch_size, config.optim.learning_rate) == (size, rate)
    assert ablation.published.top1 == top1


def test_augmentations_are_removed_one_after_the_other():
    """Each ablation leaves fewer ops on."""
    steps = [a.apply(BASE) for a in ABLATIONS if a.group == "augmentation"]

    def on(config):
        return {
            (name, field.name)
            for name, view in config.recipe.views.items()
            for field in dataclasses.fields(view)
            if field.name in view.order and getattr(getattr(view, field.name), "probability", 0) > 0
        }

    before = on(BASE)
    for config in steps:
        assert on(config) < before
        before = on(config)
    assert not before, "only crop is left"


def test_widths_and_depths_are_relative_to_the_base():
    digits = _load("digits")
    widths = [a.apply(digits).network.projector for a in ABLATIONS if a.group == "width"]
    assert all(len(width) == 2 and len(set(width)) == 1 for width in widths)
    assert (min(w[0] for w in widths), max(w[0] for w in widths)) == (16, 16384)
    depths = [a.apply(digits).network.projector for a in ABLATIONS if a.group == "depth"]
    assert depths == [(512,), (512,) * 2, (512,) * 4]
