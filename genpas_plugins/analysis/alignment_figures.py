"""The exact or estimated result of alignment and discrimination."""

from __future__ import annotations

import math
from dataclasses import dataclass

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.support.errors import InputError


@dataclass(frozen=True)
class AlignmentDiscrimination:
    """How similar training and evaluation inputs are."""

    alignment: float  # Mean similarity to training inputs of the same target; NaN if no evaluation target is covered
    discrimination: float  # Mean similarity to training inputs of other targets; NaN if there is only one target
    ratio: float  # alignment / discrimination; inf if only the latter is 0
    covered: float  # share of the evaluation pairs whose target is a training target
    standard_error: float | None = None  # standard error of an estimated ratio; None: exact


def require_same_items(view: SequenceView, evaluation: SequenceView) -> None:
    """Raise InputError if two views are of stores with different numbers of items."""
    if view.store.n_items != evaluation.store.n_items:
        raise InputError(
            f"The training data has {view.store.n_items} items and the evaluation data {evaluation.store.n_items}; "
            "alignment needs one catalogue, numbered alike. Take both views from one store."
        )


def ratio(alignment: float, discrimination: float) -> float:
    """Return alignment / discrimination: inf if only the latter is 0. NaN if both are 0 or either is unknown."""
    if discrimination == 0:
        return math.inf if alignment > 0 else math.nan
    return alignment / discrimination
