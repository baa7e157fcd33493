"""Errors with a remedy for the user; commands show their message without a traceback."""


class UserError(Exception):
    """Invalid input. The message names the value found and the remedy; the command exits with 2."""


class RunError(Exception):
    """Failure during a run. The message names the reason; the command exits with 1."""
