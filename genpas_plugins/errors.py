"""The one error that bad input raises."""


class InputError(ValueError):
    """Input that cannot be used: the message says what is wrong, where it stands and what to do about it."""
