"""Input-level augmentation: operators change the history of a drawn pair but not its target (paper: table 5).

    augment: {operator: insert, rate: 0.3, probability: 0.5} or a list of these that is applied in order

`operators_of` reads that key and `augment_stream` adds the operators to a stream. What an operator does to a pair
depends on (seed, epoch, index of the pair) alone. A new operator is one file in `genpas_plugins/augment/operators`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import genpas_plugins.augment.operators  # noqa: F401 – fills OPERATORS
from genpas_plugins.augment.augmented_stream import AugmentedStream, augment_stream
from genpas_plugins.augment.draws import OPERATORS_AT_MOST
from genpas_plugins.augment.operator import OPERATORS, Operator
from genpas_plugins.support.errors import InputError, nearest

__all__ = ["OPERATORS", "AugmentedStream", "Operator", "augment_stream", "operators_of"]


def operators_of(section: Any) -> tuple[Operator, ...] | None:
    """Read the `augment` key.

    Parameters
    ----------
    section : a mapping, a list of mappings or None; an `Operator` may replace a mapping

    Raises
    ------
    InputError
        For a value of another kind. For an unknown operator or key or a number out of range.

    Examples
    --------
    >>> operators_of({"operator": "insert", "rate": 0.3, "probability": 0.5})
    (Insert(rate=0.3, probability=0.5, operator='insert'),)
    """
    if section is None:
        return None
    entries = section if isinstance(section, list | tuple) else [section]
    if not 0 < len(entries) <= OPERATORS_AT_MOST:
        raise InputError(
            f"augment is a list of {len(entries)} operators; give 1 to {OPERATORS_AT_MOST}, or null for none."
        )
    return tuple(_operator(entry) for entry in entries)


def _operator(entry: Any) -> Operator:
    if isinstance(entry, Operator):
        return entry
    if not isinstance(entry, Mapping):
        raise InputError(f"augment must hold keys such as '{{operator: insert, rate: 0.3}}', not {entry!r}.")
    name = entry.get("operator")
    if name is None:
        raise InputError(f"augment needs an operator: one of {', '.join(OPERATORS)}.")
    chosen = OPERATORS.get(name) if isinstance(name, str) else None
    if chosen is None:
        raise InputError(f"augment: operator is {name!r}.{nearest(name, OPERATORS)}")
    known = [f.name for f in fields(chosen)]
    for key in entry:
        if key not in known:
            raise InputError(f"augment: {name} has no key {key!r}.{nearest(key, known)}")
    if "rate" not in entry:
        raise InputError(f"augment: {name} needs a rate, a number from 0 to 1.")
    try:
        return chosen(**{key: value for key, value in entry.items() if key != "operator"})
    except InputError as error:
        raise InputError(f"augment: {name}: {error}") from None
