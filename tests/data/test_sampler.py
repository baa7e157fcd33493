import numpy as np
import pytest

from barlow_jax.data.sampler import EpochSampler, EvaluationRange, ProcessShard, SampleRange


def test_an_epoch_is_a_permutation_without_its_remainder():
    sampler = EpochSampler(seed=3, num_examples=103, batch_size=10)
    assert sampler.steps_per_epoch == 10
    seen = np.concatenate([sampler.batch(step)[0] for step in range(10)])
    assert len(set(seen.tolist())) == 100 and seen.max() < 103


def test_a_step_depends_on_seed_and_step_alone():
    forward = [EpochSampler(1, 50, 5).batch(step)[0] for step in range(40)]
    backward = [EpochSampler(1, 50, 5).batch(step)[0] for step in reversed(range(40))][::-1]
    np.testing.assert_array_equal(forward, backward)


@pytest.mark.parametrize("other", [EpochSampler(2, 50, 50).batch(0)[0], EpochSampler(1, 50, 50).batch(1)[0]])
def test_seeds_and_epochs_shuffle_differently(other):
    assert np.any(EpochSampler(1, 50, 50).batch(0)[0] != other)


def test_positions_count_every_image_once():
    sampler = EpochSampler(seed=0, num_examples=25, batch_size=10)
    positions = np.concatenate([sampler.batch(step)[1] for step in range(7)])
    np.testing.assert_array_equal(positions, np.arange(70))


def test_the_parts_of_all_processes_are_the_batch():
    sampler, examples = EpochSampler(3, 50, 12), np.arange(50)[::-1] * 2
    for step in (0, 5):
        index, position = sampler.batch(step)
        parts = [
            SampleRange(sampler, 0, 9, ProcessShard(process, 3), examples).batch(step) for process in range(3)
        ]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), examples[index])
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), position)


def test_replacements_depend_on_the_seed_and_the_position():
    drawn = [
        SampleRange(EpochSampler(seed, 1000, 10), 0, 1).replacements(position).tolist()
        for seed, position in ((0, 3), (0, 3), (0, 4), (1, 3))
    ]
    assert drawn[0] == drawn[1] and drawn[0] != drawn[2] and drawn[0] != drawn[3]


def test_the_last_batch_is_padded_with_the_first_example():
    examples = np.array([7, 3, 9])
    index, is_real = EvaluationRange(examples, 2).batch(1)
    assert index.tolist() == [9, 7] and is_real.tolist() == [True, False]
    halves = [EvaluationRange(examples, 2, ProcessShard(i, 2)).batch(1)[0].tolist() for i in range(2)]
    assert halves == [[9], [7]]
