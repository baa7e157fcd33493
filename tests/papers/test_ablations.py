"""Each ablation differs from the paper's base only in the keys that it lists."""

import dataclasses

import pytest

from barlow_jax.config.overrides import from_tree, load_config_file, to_config_dict
from barlow_jax.config.records import flatten
from barlow_jax.config.validation import Facts, validate
from barlow_jax.papers.ablations import ABLATIONS, TABLES, VICREG


def _load(name):
    config_dict, problems = load_config_file(name)
    config, more = from_tree(config_dict.to_dict())
    assert not problems + more
    return config


def _flat(config):
    return flatten(to_config_dict(config).to_dict())


BASE = _load("ablations")
VICREG_BASE = _load("ablations:vicreg")
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
    assert TABLES["barlow_twins"].groups == (
        "loss",
        "asymmetry",
        "batch_size",
        "augmentation",
        "width",
        "depth",
        "lambda",
        "correlation",
    )


@pytest.mark.parametrize("ablation", VICREG, ids=[f"{a.group}/{a.name}" for a in VICREG])
def test_an_ablation_of_vicreg_changes_the_fields_that_it_lists(ablation):
    base, case = _flat(VICREG_BASE), ablation.apply(VICREG_BASE)
    changed = {key for key, value in _flat(case).items() if base[key] != value}
    # Keys that a row sets to the value of the base.
    as_before = {"network.second_encoder", "network.projector_output_norm"}
    as_before |= {f"objective.{name}.variance_weight" for name in ("byol", "simsiam")}
    as_before |= {"objective.vicreg.covariance_weight"}
    assert changed <= set(ablation.changes) <= changed | as_before
    assert not validate(case, Facts(32, {"train": 1_281_167}))


def test_vicregs_table_has_the_papers_numbers():
    published = {f"{a.group}/{a.name}": a.published.top1 for a in VICREG}
    assert (VICREG_BASE.train.num_epochs, VICREG_BASE.optim.learning_rate) == (100, 0.3)
    assert TABLES["vicreg"].baseline.top1 == 68.6 and len(published) == len(VICREG)
    assert published["coefficients/1_1_0"] == 57.5 and published["variance/byol_variance"] == 70.2
    assert [published[f"branches/{n}"] for n in ("own", "resnet101", "vit_small")] == [66.5, 68.1, 66.2]
    rates = [a.apply(VICREG_BASE).optim.learning_rate for a in VICREG if a.group == "batch_size"]
    assert rates == [0.8, 0.5, 0.4]


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
