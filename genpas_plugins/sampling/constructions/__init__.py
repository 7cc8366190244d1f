"""Published ways to make training pairs, one file each; importing the folder registers all of them.

    construction_of("last_items:length=50")      →  LastItems(length=50)
    CONSTRUCTIONS["suffix"].source               →  who trains on it

A construction lists the pairs of a sequence by formulas of its length. Nothing is materialised. A new construction
is one file in this folder: a subclass of `Construction` or of a similar construction.
"""

from __future__ import annotations

import operator
import pkgutil
from importlib import import_module

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.constructions.construction import CONSTRUCTIONS, Construction
from genpas_plugins.support.errors import InputError, nearest

__all__ = ["CONSTRUCTIONS", "Construction", "construction_of", "pair_counts"]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def construction_of(text: str) -> Construction:
    """Return the construction of a name with its numbers such as "fixed_windows:width=20". Numbers have defaults.

    Raises InputError for an unknown name or number or a number out of range.

    >>> construction_of("strided_windows:stride=5").label
    'strided_windows:width=50:stride=5'
    """
    name, *settings = text.split(":")
    if name not in CONSTRUCTIONS:
        raise InputError(f"Unknown strategy {name!r}.{nearest(name, CONSTRUCTIONS)}")
    numbers: dict[str, float] = {}
    for setting in settings:
        key, equals, number = setting.partition("=")
        known = CONSTRUCTIONS[name].numbers()
        if key not in known or not equals:
            example = CONSTRUCTIONS[name]().label
            raise InputError(f"{text!r}: {name} has no number {key!r}.{nearest(key, known)} Write it as {example}.")
        try:
            numbers[key] = float(number) if "." in number or "e" in number else int(number)
        except ValueError:
            raise InputError(f"{text!r}: {key} must be a number, not {number!r}.") from None
    return CONSTRUCTIONS[name](**numbers)


def pair_counts(view: SequenceView) -> dict[str, int]:
    """Return how many pairs each construction without its own numbers has on a view by name."""
    length, _, size = view.groups
    plain = (kind() for _, kind in sorted(CONSTRUCTIONS.items()) if not kind.numbers() and not kind.drawn)
    # In whole numbers of Python, which do not overflow.
    return {each.name: sum(map(operator.mul, each.n_pairs(length).tolist(), size.tolist())) for each in plain}
