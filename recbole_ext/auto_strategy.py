"""`strategy: auto`: search the policy on validation after the data split, as `genpas search` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.search.by_transitions import MULTI_TARGET, search_by_transitions
from genpas_plugins.search.grid import Grid
from genpas_plugins.search.transition_model import TransitionModel
from genpas_plugins.settings.genpas import AUTO, EXPONENT_NAMES, SECTION
from genpas_plugins.support.errors import InputError
from recbole_ext.genpas_key import genpas_config


def choose_strategy(parts: Sequence[Any], row_field: str) -> dict[str, Any] | None:
    """Replace `strategy: auto` of a split WindowDataset by the chosen policy and return a report.

    `parts` are training, validation and test. `row_field` has the place of a target in the store. The report has the
    chosen point and the best point. It also has the predicted difference of the best point to multi_target in
    NDCG@10. Other strategies return None.

    Raises InputError if no user has a validation target.
    """
    train, validation = parts[0], parts[1]
    config = train.config
    section = genpas_config(config)
    if section is None or section.strategy != AUTO:
        return None
    view = _evaluation_view(validation, row_field)
    if not view.max_length:
        raise InputError("strategy auto needs validation targets, and the split has none. Name a strategy instead.")
    points = Grid().points
    train.logger.info(f"strategy auto: {len(points)} points are compared on validation")
    found = search_by_transitions(TransitionModel.of(train.training_view(), view), points)
    chosen = found.chosen
    exponents = {} if chosen is MULTI_TARGET else {name: getattr(chosen, name) for name in EXPONENT_NAMES}
    config[SECTION] = section.replaced(strategy=chosen.strategy, **exponents)
    best = found.ranked[0].policy.label
    return {"chosen": chosen.label, "best": best, "users": found.users, **found.difference._asdict()}


def _evaluation_view(part: Any, row_field: str) -> SequenceView:
    """Return the view of the store that ends each user in the last target of a part."""
    store = part.store
    users, rows = (part.inter_feat[field].numpy() for field in (part.uid_field, row_field))
    lengths = np.zeros(store.n_sequences, np.int64)
    np.maximum.at(lengths, users, rows - store.offsets[users] + 1)
    view: SequenceView = store.view(lengths=lengths)
    return view
