"""Errors that are a person's to mend: what was asked for, and what came of it."""


class UserError(Exception):
    """Says what is wrong and what to do; shown without a traceback, and the program exits with 2."""


class RunError(Exception):
    """A run that cannot go on, and why; shown without a traceback, and the program exits with 1."""
