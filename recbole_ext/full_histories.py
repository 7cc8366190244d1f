"""Every user's whole model input with no item held out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from recbole.data.transform import construct_transform

from genpas_plugins import InputError, Pairs
from genpas_plugins.settings.genpas import SECTION, GenPASConfig
from genpas_plugins.support.array_types import AnyArray, Int64
from recbole_ext.dataset import WindowDataset
from recbole_ext.genpas_key import genpas_config

_SHOWN = 3  # unknown users that a message names


@dataclass(frozen=True, eq=False)
class FullHistories:
    """All interactions of a checkpoint's data set by user.

    Attributes
    ----------
    dataset : the data set. A window ends before its target, so the last interaction of each user is in it twice.
    lengths : int64 [user_num], number of interactions of each user; 0 for padding and for users of feature files alone
    """

    dataset: WindowDataset
    lengths: Int64

    @classmethod
    def of(cls, config: Any) -> FullHistories:
        """Read the data set of a RecBole configuration. Raises InputError for data cut into pairs."""
        if config["benchmark_filename"] is not None:
            raise InputError(
                "The data of this checkpoint are cut into pairs (benchmark_filename), so whole histories are unknown. "
                "Train on one .inter file."
            )
        dataset = WindowDataset(_with_windows(config))
        rows = dataset.inter_feat
        # Stable: of equal times the last in the file counts, and the copy follows it.
        last = rows.sort_values(dataset.time_field, kind="stable").groupby(dataset.uid_field).tail(1)
        dataset.inter_feat = pd.concat([rows, last], ignore_index=True)
        dataset._change_feat_format()
        return cls(dataset, np.maximum(dataset.store.lengths() - 1, 0))

    def user_numbers(self, users: Sequence[str] | None) -> Int64:
        """Return the distinct numbers of users by id. None: all users. Raises InputError for unknown ids."""
        field = self.dataset.uid_field
        if users is None:
            return np.arange(1, self.dataset.user_num)
        wanted = list(dict.fromkeys(users))
        known = self.dataset.field2token_id[field]
        unknown = [user for user in wanted if user not in known or known[user] == 0]
        if unknown:
            raise InputError(
                f"{len(unknown)} of {len(wanted)} users are not in the data set {self.dataset.dataset_name}: "
                f"{', '.join(map(repr, unknown[:_SHOWN]))}{', …' if len(unknown) > _SHOWN else ''}. "
                "Give ids as the source has them. RecBole's filters may have removed users."
            )
        return np.array([known[user] for user in wanted], np.int64)

    def batch(self, users: Int64) -> Any:
        """Return the Interaction of users `int64 [n]` for which a model ranks items."""
        windows = self.dataset.windows_of_pairs(Pairs(users, np.zeros_like(users), self.lengths[users]))
        return construct_transform(self.dataset.config)(self.dataset, self.dataset.join(windows))

    def items(self, user: int) -> Int64:
        """Return the whole ordered history of a user as item numbers."""
        first = self.dataset.store.offsets[user]
        return np.asarray(self.dataset.store.values[first : first + self.lengths[user]], np.int64)

    def user_ids(self, users: Int64) -> AnyArray:
        """Return the ids [n] of users as text in the source's form."""
        return np.asarray(self.dataset.field2id_token[self.dataset.uid_field])[users]

    def item_ids(self, items: Int64) -> AnyArray:
        """Return the ids [n] of items as text in the source's form."""
        return np.asarray(self.dataset.field2id_token[self.dataset.iid_field])[items]


def _with_windows(config: Any) -> Any:
    """Return the configuration with a `genpas` key; RecBole's order of time is kept if it had none."""
    changed = copy.copy(config)
    changed.final_config_dict = dict(config.final_config_dict)
    if genpas_config(config) is None:
        changed.final_config_dict[SECTION] = GenPASConfig(strategy="multi_target", time_order="stock")
    return changed
