"""Split expressions such as `train[:90%]`, for every kind of data, in the syntax of TFDS."""

from collections.abc import Callable
import re
from typing import NamedTuple

from barlow_jax.errors import UserError

EXAMPLES = "train[:90%] and train[90%:], train[100:200], train+test"
HINT = "parts of a split are splits as well, such as train[:90%] and train[90%:]"
_BOUND = r"(-?\d[\d_]*(?:\.\d+)?)?(%?)"
_PART = re.compile(rf"([^][+]+)(?:\[{_BOUND}:{_BOUND}\])?")


class Part(NamedTuple):
    """Consecutive examples of one split. Negative bounds count from the end."""

    name: str  # of the split
    start: float | None = None
    stop: float | None = None
    is_percent: bool = False  # unit of the bounds: percent, otherwise examples

    def rows(self, num_examples: int) -> slice:
        """Return the rows of this part in a split of `num_examples`; percentages are rounded as TFDS does.

        Raises:
          UserError: a slice is empty, or reaches beyond the split.
        """
        if self.start is None and self.stop is None:
            return slice(0, num_examples)

        def row(bound: float) -> int:
            number = round(bound * num_examples / 100.0) if self.is_percent else int(bound)
            return number + (num_examples if number < 0 else 0)

        first = 0 if self.start is None else row(self.start)
        last = num_examples if self.stop is None else row(self.stop)
        if not 0 <= first < last <= num_examples:
            raise UserError(
                f"config.data: the slice of split {self.name!r} selects rows {first} to {last} of "
                f"{num_examples}; choose other bounds, such as {EXAMPLES}"
            )
        return slice(first, last)


def parse(expression: str, exists: Callable[[str], bool] = lambda name: False) -> list[Part]:
    """Return the parts of a split expression, in order: names of splits with optional slices, joined by `+`.

    `exists` returns whether the whole expression is the name of a split, such as that of a folder "a+b".

    Raises:
      UserError: the syntax is wrong.
    """
    if exists(expression):
        return [Part(expression)]
    return [_parse_part(text.strip(), expression) for text in expression.split("+")]


def _parse_part(text: str, expression: str) -> Part:
    match = _PART.fullmatch(text)
    name, start, start_unit, stop, stop_unit = match.groups(default="") if match else ("",) * 5
    is_percent = "%" in start_unit + stop_unit
    bounds = [float(bound) if bound else None for bound in (start, stop)]
    numbers = [bound for bound in bounds if bound is not None]
    in_range = (abs(bound) <= 100 if is_percent else bound.is_integer() for bound in numbers)
    if not name or ("[" in text and not numbers) or not all(in_range):
        raise UserError(f"config.data: {expression!r} is no split, nor part of one; examples: {EXAMPLES}")
    return Part(name.strip(), *bounds, is_percent)


def count(expression: str, sizes: Callable[[str], int]) -> int:
    """Return the number of examples of an expression, from the sizes of its splits.

    Raises:
      UserError: the syntax is wrong, or a slice is empty or reaches beyond its split.
    """
    rows = [part.rows(sizes(part.name)) for part in parse(expression)]
    return sum(row.stop - row.start for row in rows)
