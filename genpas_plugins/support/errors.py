"""The one error that bad input raises and common checks."""

from __future__ import annotations

import difflib
import errno
import importlib.util
import operator
import re
from collections.abc import Iterable
from typing import Any

_SHOWN_NAMES, _SHOWN_TEXT = 40, 200


class InputError(ValueError):
    """Input that cannot be used. The message names the cause, the place and the fix."""


def shortened(text: str) -> str:
    """Return text for a message with a cut where it is long."""
    return text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…"


def is_full_disk(error: BaseException | None) -> bool:
    """Whether a write failed at the limit of the disk, the quota or the size of a file."""
    if not isinstance(error, OSError):
        return False
    # numpy.save finds a short write itself, and its error has no number.
    short = error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)) is not None
    return short or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def nearest(word: Any, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the nearest known word and the known words."""
    names = list(known)
    folded = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(str(word).casefold(), folded, n=1, cutoff=0.5)
    question = f" Did you mean {folded[near[0]]!r}?" if near else ""
    # A name from a damaged file can hold line ends.
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return f"{question} Valid: {', '.join(names[:_SHOWN_NAMES])}{more}.".replace("\r", "").replace("\n", "\\n")


def whole_number(name: str, value: Any, lowest: int, highest: int | None = None) -> int:
    """Return `value` as an int. Raises InputError unless it is a whole number from `lowest` to `highest`."""
    limits = f"from {lowest} on" if highest is None else f"from {lowest} to {highest}"
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number {limits}, not {value!r}.") from None
    if isinstance(value, bool) or number < lowest or (highest is not None and number > highest):
        raise InputError(f"{name} must be a whole number {limits}, not {value!r}.")
    return number


def require_recbole() -> None:
    """Raise InputError if RecBole is not installed."""
    if importlib.util.find_spec("recbole") is None:
        raise InputError(
            "RecBole is not installed: pip install 'genpas-plugins[recbole]', then "
            "pip install --no-deps recbole==1.2.1 (its own requirements rule out current Python and numpy)."
        )
