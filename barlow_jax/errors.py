"""The one kind of error that is a person's to mend."""


class UserError(Exception):
    """Says what is wrong and what to do; shown without a traceback, and the program exits with 2."""
