"""Exponents and points as text: `-inf`, `1e-3`, `1,0,-inf`."""

from __future__ import annotations

from collections.abc import Sequence

from genpas_plugins.sampling.constructions import CONSTRUCTIONS
from genpas_plugins.sampling.policy import SAMPLED, Policy, SamplingPolicy, named_policy
from genpas_plugins.support.errors import InputError, nearest

_COORDINATES = len(("alpha", "beta", "gamma"))


def read_number(text: str) -> float | str:
    """Return the number in `text` or the text itself if it is not a number. YAML's `.inf` is read as well.

    >>> read_number("-.inf"), read_number("1e-3"), read_number("one")
    (-inf, 0.001, 'one')
    """
    word = text.strip()
    try:
        return float(word.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return word


def read_point(text: str, where: str = "--point") -> SamplingPolicy:
    """Return the policy of a point `alpha,beta,gamma`.

    Raises InputError if the text is not three numbers or a number is NaN.
    """
    numbers = [number for part in text.split(",") if isinstance(number := read_number(part), float)]
    if len(numbers) != _COORDINATES or text.count(",") != _COORDINATES - 1:
        raise InputError(
            f"{where} {text!r} is not a point. Write three numbers with commas, as 1,0,-inf; inf and -inf are allowed."
        )
    alpha, beta, gamma = (number + 0.0 for number in numbers)  # -0.0 + 0.0 is 0.0, the same point
    try:
        return SamplingPolicy(alpha, beta, gamma)
    except InputError as error:
        raise InputError(f"{where} {text!r}: {error}") from None


def read_policy(text: str, where: str) -> Policy:
    """Return the policy of a word: a strategy, such as last_items:length=50, or a point.

    Raises InputError for another word.
    """
    if text.split(":", maxsplit=1)[0] in CONSTRUCTIONS:
        return named_policy(text)
    if "," in text:
        return read_point(text, where)
    how = f"{nearest(text, CONSTRUCTIONS)} Or exponents, as 1,0,0."
    if text == SAMPLED:
        how = "Write its exponents, as 1,0,0."
    raise InputError(f"{where}: {text!r} is not a strategy. {how.strip()}")


def join_points(words: Sequence[str]) -> list[str]:
    """Join three consecutive numbers to a point.

    >>> join_points(["multi_target", "1", "0", "-inf+insert", "2", "1", "0"])
    ['multi_target', '1,0,-inf+insert', '2,1,0']
    """
    joined: list[str] = []
    rest = list(words)
    while rest:
        length = _COORDINATES if isinstance(read_number(rest[0]), float) else 1
        joined.append(",".join(rest[:length]))
        rest = rest[length:]
    return joined
