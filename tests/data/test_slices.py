"""Split expressions, against TFDS's own reading of them."""

import pytest
import tensorflow_datasets as tfds

from barlow_jax.data import slices
from barlow_jax.errors import UserError

SIZES = {"train": 1437, "test": 7}
EXPRESSIONS = (
    "train",
    "train[:90%]",
    "train[90%:]",
    "train[12.5%:33.3%]",
    "train[-10%:]",
    "train[100:1_200]",
    "train[-5:-1]",
    "test[:50%]+train[:1]",
    " train [:3]+ test",
)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_rows_are_those_of_tfds(expression):
    infos = {
        name: tfds.core.SplitInfo(name=name, shard_lengths=[size], num_bytes=0)
        for name, size in SIZES.items()
    }
    spec = tfds.core.splits.AbstractSplit.from_spec(expression.replace(" ", ""))
    expected = [(p.splitname, p.from_ or 0, p.to or SIZES[p.splitname]) for p in spec.to_absolute(infos)]
    parts = slices.parse(expression)
    assert [(p.name, *p.rows(SIZES[p.name]).indices(10**6)[:2]) for p in parts] == expected
    assert slices.count(expression, SIZES.get) == sum(stop - start for _, start, stop in expected)


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "train[:90",
            "train[90]",
            "train[:]",
            "train[]",
            "train[a:b]",
            "[:5]",
            "",
            "train+",
            "train[:101%]",
        ),
        *("train[:1.5]", "train]", "train[:5][5:]", "train[:5:2]"),
    ],
)
def test_wrong_syntax_is_an_error_with_an_example(expression):
    with pytest.raises(UserError, match=r"train\[:90%\] and train\[90%:\]"):
        slices.parse(expression)


@pytest.mark.parametrize("expression", ["test[:8]", "test[7:]", "test[5:3]", "test[:1%]", "test[-8:]"])
def test_a_slice_that_is_empty_or_too_long_is_an_error(expression):
    with pytest.raises(UserError, match="of 7"):
        slices.count(expression, SIZES.get)


def test_a_split_may_have_the_name_of_an_expression():
    assert slices.parse("a+b[1:]", "a+b[1:]".__eq__) == [slices.Part("a+b[1:]")]
