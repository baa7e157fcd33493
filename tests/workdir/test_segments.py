"""Segments of an extended run: where each begins, what is recorded, and kills in between."""

import dataclasses
import json

import pytest

from barlow_jax.config.overrides import to_config_dict
from barlow_jax.config.schema import Config
from barlow_jax.data.sampler import EpochSampler, Segment
from barlow_jax.errors import UserError
from barlow_jax.workdir import provenance, segments

IMAGES = 1000


def _config(batch_size=100, num_epochs=2.0, **train):
    config = Config()
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, batch_size=batch_size, num_epochs=num_epochs, **train),
    )


def _write_config(workdir, config):
    (workdir / "config.json").write_text(json.dumps(to_config_dict(config).to_dict()))


def _save(workdir, step):
    (workdir / "checkpoints" / str(step)).mkdir(parents=True)


@pytest.fixture
def run(tmp_path):
    """Workdir with 1.5 epochs of 10 steps."""
    _write_config(tmp_path, _config())
    _save(tmp_path, 15)
    return tmp_path


def _extend(workdir, config):
    segment = segments.current(workdir, config, IMAGES)
    recorded = segments.record(workdir, segment, config, ["pretrain", "--extend"])
    return segment, recorded


def test_a_run_that_resumes_has_no_segments(run):
    assert _extend(run, _config(log_every_steps=7)) == (Segment(), None)
    assert segments.read(run) == [] and not (run / segments.FILE).exists()


def test_segments_begin_where_the_one_before_ended(run):
    first, recorded = _extend(run, _config(batch_size=50, num_epochs=4.0))
    assert first == Segment(step=15, epoch=1.5, permutations=2, position=1500)
    changed = {"train.batch_size": [100, 50], "train.num_epochs": [2.0, 4.0]}
    assert recorded == {"step": 15, "epoch": 1.5, "changed": changed}
    _write_config(run, _config(batch_size=50, num_epochs=4.0))
    _save(run, 40)  # 25 steps of 50 images, 20 per epoch
    assert _extend(run, _config(batch_size=50, num_epochs=4.0, microbatches=1))[0] == first
    second, _ = _extend(run, _config(batch_size=200, num_epochs=4.0))
    assert second == Segment(step=40, epoch=2.75, permutations=4, position=2750)
    _write_config(run, _config(batch_size=200, num_epochs=4.0))
    entries = segments.read(run)
    assert [entry["step"] for entry in entries] == [0, 15, 40]
    assert [entry["config"]["train"]["batch_size"] for entry in entries] == [100, 50, 200]
    assert entries[2]["changed"] == {"train.batch_size": [50, 200]}


def test_an_extension_killed_before_it_began_does_not_count(run):
    _extend(run, _config(batch_size=50))  # config.json is written after that
    assert [entry["step"] for entry in segments.read(run)] == [0]
    assert segments.current(run, _config(), IMAGES) == Segment()
    assert _extend(run, _config(batch_size=200))[0] == Segment(15, 1.5, 2, 1500)
    _write_config(run, _config(batch_size=200))
    assert [entry["config"]["train"]["batch_size"] for entry in segments.read(run)] == [100, 200]


def test_a_segment_without_a_step_is_replaced(run):
    for batch_size in (50, 200):
        segment, recorded = _extend(run, _config(batch_size=batch_size))
        assert segment == Segment(15, 1.5, 2, 1500)
        assert recorded["changed"] == {"train.batch_size": [100, batch_size]}
        _write_config(run, _config(batch_size=batch_size))


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '[{"step": 3}]'])
def test_a_damaged_file_is_refused(run, text):
    (run / segments.FILE).write_text(text)
    with pytest.raises(UserError, match=r"segments\.json is damaged"):
        segments.read(run)


def test_the_sampler_continues_with_new_orders_and_positions():
    before = EpochSampler(0, IMAGES, 100)
    after = EpochSampler(0, IMAGES, 50, before.next_segment(15))
    assert (before.epoch(15), after.epoch(15), after.epoch(25)) == (1.5, 1.5, 2.0)
    index, position = after.batch(15)
    assert position.tolist() == list(range(1500, 1550))
    # Two epochs of the old segment were begun, so the new one starts with the third permutation.
    assert index.tolist() == before.batch(20)[0][:50].tolist()
    assert after.batch(35)[0].tolist() == before.batch(30)[0][:50].tolist()
    # 15 steps before; 1.5 epochs of 20 steps count as 30 in the schedule.
    assert after.schedule_offset == 15 and before.schedule_offset == 0


def test_other_images_begin_a_segment_at_the_epoch_of_the_old_number(run):
    old, new = ({"train": {"images": images, "digest": f"{images:032}"}} for images in (IMAGES, 700))
    provenance.record(run, ["pretrain"], {}, data=old)
    assert provenance.data_changes(run, old) == {}
    changes = provenance.data_changes(run, new)
    assert [text.partition(" ")[0] for text in changes["split train"]] == ["1000", "700"]
    assert segments.current(run, _config(), 700) == Segment()
    segment = segments.current(run, _config(), 700, changes)
    assert segment == Segment(step=15, epoch=1.5, permutations=2, position=1500)
    recorded = segments.record(run, segment, _config(), ["pretrain"], 700, changes)
    provenance.record(run, ["pretrain"], {}, recorded, new)
    assert provenance.read(run)[-1]["segment"]["changed"] == changes and not provenance.data_changes(run, new)
    assert [entry["images"] for entry in segments.read(run)] == [1000, 700]
    assert segments.current(run, _config(), 700) == segment
    _save(run, 22)  # 7 steps of 100 images, an epoch of them
    third = segments.current(run, _config(), 800, provenance.data_changes(run, old))
    # 1.5 epochs are 10 whole steps of 7 in the second segment's schedule, of which 7 follow.
    assert third == Segment(step=22, epoch=17 / 7, permutations=3, position=2200)
