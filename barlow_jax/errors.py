"""Errors with a remedy for the user; commands show their message without a traceback."""

from collections.abc import Sequence


class UserError(Exception):
    """Invalid input. The message names the value found and the remedy; the command exits with 2."""

    @classmethod
    def from_problems(cls, problems: Sequence[str]) -> "UserError":
        """Return the error that lists these problems."""
        return cls(problems[0] if len(problems) == 1 else format_problems(problems))


class RunError(Exception):
    """Failure during a run. The message names the reason; the command exits with 1."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; the name of its type if that is empty."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def format_problems(problems: Sequence[str]) -> str:
    """Return the text of an error message that lists each problem once."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([count, *(f"  {problem}" for problem in dict.fromkeys(problems))])
