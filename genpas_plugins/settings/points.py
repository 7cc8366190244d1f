"""Exponents and points α,β,γ as text: on a command line, or as one word in a table."""

from __future__ import annotations

from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.support.errors import InputError

_EXPONENTS = 3


def exponent(text: str | None) -> float | str | None:
    """Return an exponent as a number; other text stays text, and the configuration refuses it."""
    if text is None:
        return None
    try:
        # YAML writes an infinity with a dot.
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text


def read_point(text: str) -> SamplingPolicy:
    """Return the policy of a point "alpha,beta,gamma". Raises InputError where it is none, or NaN."""
    parts = [exponent(part.strip()) for part in text.split(",")]
    if len(parts) != _EXPONENTS or any(not isinstance(part, float) for part in parts):
        raise InputError(
            f"--point {text!r} is no point; write three numbers (inf and -inf allowed) with commas: --point 1,0,-inf."
        )
    # Adding nought turns -0 into 0, which is the same point.
    alpha, beta, gamma = (float(part or 0) + 0.0 for part in parts)
    try:
        return SamplingPolicy(alpha, beta, gamma)
    except InputError as error:
        raise InputError(f"--point {text!r}: {error}") from None
