"""RecBole's SequentialDataset with a SequenceStore and windows on demand instead of materialised prefixes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType
from torch import Tensor

from genpas_plugins import InputError, Pairs, SequenceStore, SequenceView
from genpas_plugins.data.ties import parse_ties, tie_keys
from genpas_plugins.sampling.backend import choose_backend
from genpas_plugins.sampling.batch import StoreHistories
from genpas_plugins.sampling.train_users import keep_users
from genpas_plugins.settings.genpas import SECTION
from genpas_plugins.support.array_types import AnyArray, Int64
from recbole_ext.added_sequences import added_file, read_added
from recbole_ext.auto_strategy import choose_strategy
from recbole_ext.genpas_key import genpas_config
from recbole_ext.temporal_split import is_temporal, split_in_time

ROW = "_store_row"
"""Column of a data set's rows with the position of the target in the store; models never see it."""

_HELD_OUT = 2
"""How many last items of a user `genpas regenerate` does not read."""


def new(cls: type, config: Any = None, *_: Any) -> Any:
    """Make a `WindowDataset` for `SequentialDataset(config)` if the configuration has the `genpas` key.

    Raises InputError if there are added sequences and no key: stock RecBole does not read them.
    """
    # pickle and copy call __new__ without a config; other models have subclasses of their own.
    asked = cls is SequentialDataset and config is not None
    chosen = asked and genpas_config(config) is not None
    if asked and not chosen and added_file(config).is_file():
        raise InputError(
            f"{added_file(config)} holds sequences to train on that RecBole would not read. Add a {SECTION} key, "
            f"such as {SECTION}: {{strategy: multi_target}}, or take the data set of the original store."
        )
    return object.__new__(WindowDataset if chosen else cls)


class Rows(Interaction):
    """An Interaction that indexes with arrays of row numbers: RecBole makes slow Python lists of them."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self.interaction[index]
        if not isinstance(index, slice | int):
            index = torch.as_tensor(np.asarray(index))
            index = index if index.numel() else index.long()  # an empty list has no type, and becomes float
        return Rows({field: column[index] for field, column in self.interaction.items()})


class Columns(NamedTuple):
    """The arrays or tensors that a batch reads: the user of each sequence and the store's columns."""

    owner: Any
    fields: Mapping[str, Any]


def as_tensor(values: Any) -> Tensor:
    """Return an array as a tensor that shares its memory; a tensor as it is."""
    return values if isinstance(values, Tensor) else torch.from_numpy(values)


class WindowDataset(SequentialDataset):
    """A SequentialDataset that gathers histories when a batch needs them.

    `inter_feat` holds a light row for each target: its scalar fields and ROW. RecBole splits these rows as usual.
    `__getitem__` cuts the `<field>_list` fields out of `store`.

    Attributes
    ----------
    store : Sequence s is the user with RecBole's number s. Added sequences follow (`recbole_ext.added_sequences`).
    owner : int64 [n_sequences], user of each sequence; of an added one the user it was made from, or 0
    """

    store: SequenceStore
    owner: Int64
    inter_feat: Any

    split_report: dict[str, Any] | None = None
    auto_report: dict[str, Any] | None = None
    _trained: SequenceView | None = None
    _of_all_users: SequenceView | None = None

    def _fill_nan(self) -> None:
        """Refuse missing times because RecBole fills them with the mean time. Fill other fields as RecBole does."""
        if self.time_field not in self.inter_feat:
            with self._inter_file.open(encoding=self.config["encoding"]) as file:
                header = file.readline()
            there = [field.split(":")[0] for field in header.strip().split(self.config["field_separator"])]
            advice = (
                f"Add it to load_col, inter: [{', '.join([*self.inter_feat.columns, self.time_field])}]."
                if self.time_field in there
                else f"Set TIME_FIELD to the column that orders interactions, one of {', '.join(there)}."
            )
            raise InputError(
                f"{self._inter_file}: there is no column {self.time_field!r} (TIME_FIELD) among the loaded columns "
                f"{', '.join(self.inter_feat.columns)}. {advice}"
            )
        if self.field2type[self.time_field] != FeatureType.FLOAT:
            raise InputError(
                f"{self._inter_file}: the column {self.time_field!r} (TIME_FIELD) is of type "
                f"{self.field2type[self.time_field].value}, which has no order. Write it as {self.time_field}:float."
            )
        missing = np.flatnonzero(self.inter_feat[self.time_field].isna())
        if len(missing):
            raise InputError(
                f"{self._inter_file}: {len(missing)} interactions have no {self.time_field} (the first is the "
                f"{missing[0] + 1}th that the filters left), so their place in the sequence is unknown. Remove them, "
                "or set TIME_FIELD to a column that orders all interactions."
            )
        super()._fill_nan()

    def _data_filtering(self) -> None:
        """Refuse filters that remove interactions if there are added sequences: these may hold what was removed."""
        before = len(self.inter_feat)
        super()._data_filtering()
        removed = before - len(self.inter_feat)
        if removed and added_file(self.config).is_file():
            raise InputError(
                f"RecBole's filters removed {removed} of {before} interactions, but the added sequences of "
                f"{self.dataset_name} were made from all of them. Filter with `genpas prepare`, and regenerate then."
            )

    @property
    def _inter_file(self) -> Path:
        return Path(self.dataset_path) / f"{self.dataset_name}.inter"

    def _change_feat_format(self) -> None:
        """Sort by the time before RecBole casts it to float32. Ties are in the order of the key."""
        section = genpas_config(self.config)
        assert section is not None  # the key made this class
        seed = parse_ties(section.ties)
        if seed is not None and added_file(self.config).is_file():
            raise InputError(
                f"The added sequences of {self.dataset_name} were made of the items before the last two in the order "
                f"of the file, which ties: {section.ties} changes. Remove ties."
            )
        if seed is not None:
            order = np.argsort(tie_keys(np.arange(len(self.inter_feat)), seed), kind="stable")
            self.inter_feat = self.inter_feat.iloc[order].reset_index(drop=True)
        if section.time_order == "exact":
            self.inter_feat = self.inter_feat.sort_values(self.time_field, kind="stable", ignore_index=True)
        super()._change_feat_format()

    def build(self) -> list[Any]:
        """Split by eval_args or in time (`recbole_ext.temporal_split`) and choose `strategy: auto`."""
        if is_temporal(self.config["eval_args"]):
            self._change_feat_format()
            parts, self.split_report = split_in_time(self, ROW)
            built = [self.copy(self.inter_feat[rows]) for rows in parts]
        else:
            built = super().build()
        built[0].auto_report = choose_strategy(built, ROW)
        return built

    def data_augmentation(self) -> None:
        """Keep the raw columns as a store and a row for each target instead of every prefix."""
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        users = self.inter_feat[self.uid_field].numpy()
        # Two stable sorts, as RecBole's own sort by user and time.
        order = np.argsort(self.inter_feat[self.time_field].numpy(), kind="stable")
        order = order[np.argsort(users[order], kind="stable")]
        columns = {field: self.inter_feat[field].numpy()[order] for field in self.inter_feat}
        users = columns.pop(self.uid_field)
        offsets = np.searchsorted(users, np.arange(self.user_num + 1))
        self.store, self.owner = self._store(columns, offsets)
        rows = np.flatnonzero(np.arange(len(users)) > offsets[users])
        self.inter_feat = Rows(
            {
                self.uid_field: torch.from_numpy(users[rows]),
                **{field: torch.from_numpy(column[rows]) for field, column in columns.items()},
                self.item_list_length_field: torch.from_numpy(
                    np.minimum(rows - offsets[users[rows]], self.max_item_list_len)
                ),
                ROW: torch.from_numpy(rows),
            }
        )
        self._list_fields = {field: getattr(self, f"{field}_list_field") for field in columns}

    def _store(self, columns: dict[str, AnyArray], offsets: Int64) -> tuple[SequenceStore, Int64]:
        """Return `store` and `owner`. Added interactions have 0 in all fields but the item."""
        owner, added = np.arange(self.user_num), read_added(self)
        if added is not None:
            n = len(added.items)
            more = {field: np.zeros((n, *column.shape[1:]), column.dtype) for field, column in columns.items()}
            more[self.iid_field] = added.items
            columns = {field: np.concatenate([column, more[field]]) for field, column in columns.items()}
            offsets = np.concatenate([offsets, offsets[-1] + added.offsets[1:]])
            owner = np.concatenate([owner, added.owner])
        values = columns[self.iid_field]
        return SequenceStore.from_arrays(values, offsets, n_items=self.item_num - 1, columns=columns), owner

    @property
    def n_added(self) -> int:
        """Number of sequences that were added to train on."""
        return self.store.n_sequences - int(self.user_num)

    def __getitem__(self, index: Any, join: bool = True) -> Interaction:
        """Return the rows at `index` with their histories. Stock RecBole keeps these in memory."""
        windows = self._windows_of(index)
        return self.join(windows) if join else windows

    def _windows_of(self, index: Any) -> Interaction:
        rows = self.inter_feat[index]
        users = np.atleast_1d(rows[self.uid_field].numpy())
        target = np.atleast_1d(rows[ROW].numpy()) - self.store.offsets[users]
        windows = self.windows_of_pairs(Pairs(users, np.zeros_like(target), target))
        return windows[0] if isinstance(index, int) else windows

    def windows_of_pairs(self, pairs: Pairs) -> Interaction:
        """Return the batch of these pairs; see `windows`."""
        histories = StoreHistories.of(self.store, pairs, self.max_item_list_len, choose_backend())
        return self.windows(histories, self.store.offsets[pairs.sequence] + pairs.target)

    def windows(
        self, histories: Any, rows: Any, width: int | None = None, columns: Columns | None = None
    ) -> Interaction:
        """Return a batch: scalar fields at the target, right-padded `<field>_list` and `item_length`.

        Parameters
        ----------
        histories : n `Histories` or `DeviceHistories` of at most MAX_ITEM_LIST_LENGTH items
        rows : each target's row of the store, int64 [n]
        width : length of the lists; None: MAX_ITEM_LIST_LENGTH
        columns : on the device of `histories` and `rows`; None: the store's
        """
        width, (owner, fields) = width or self.max_item_list_len, columns or Columns(self.owner, self.store.columns)
        batch = {
            self.uid_field: as_tensor(owner[histories.sequence]),
            **{
                field: as_tensor(column[rows])
                for field, column in fields.items()
                if field in self.inter_feat  # unless unused_col dropped it
            },
            self.item_list_length_field: as_tensor(histories.lengths),
        }
        for field, list_field in self._list_fields.items():
            column, is_item = fields[field], field == self.iid_field
            padded = histories.padded(width, column.dtype) if is_item else histories.padded_column(column, width)
            batch[list_field] = as_tensor(padded)
        return Interaction(batch)

    def _grouped_index(self, group_by_list: Any) -> list[Int64]:
        """Return the row numbers of every group by first appearance: RecBole's function without its loop."""
        keys = np.asarray(group_by_list)
        order = np.argsort(keys, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
        return sorted(groups, key=lambda rows: int(rows[0])) if len(keys) else []

    def copy(self, new_inter_feat: Any) -> WindowDataset:
        """Return this data set with other rows."""
        copied: WindowDataset = super().copy(new_inter_feat)
        copied._trained = copied._of_all_users = None
        return copied

    def of_users(self, share: float, seed: int) -> WindowDataset:
        """Return this training split for a share of its users drawn by `keep_users`.

        Rows and views hold these users and the sequences added from theirs. The numbers of users and items stay.
        """
        of_all = self.training_view()
        trained = keep_users(of_all, share, seed, self.owner)
        if trained is of_all:
            return self
        users = self.inter_feat[self.uid_field].numpy()
        part = self.copy(self.inter_feat[np.flatnonzero(trained.lengths()[users])])
        part._trained, part._of_all_users = trained, of_all
        return part

    def training_view(self) -> SequenceView:
        """Return a view of the store with this split's targets and only the items before them.

        Added sequences are whole. Raises InputError if the split takes a target out of the middle of a user's
        sequence. The source items of added sequences must not be held out either.
        """
        return self.view_of_all_users() if self._trained is None else self._trained

    def view_of_all_users(self) -> SequenceView:
        """Return `training_view` with the users that `of_users` left out. Raises InputError as that does."""
        if self._of_all_users is not None:
            return self._of_all_users
        users, rows = self.inter_feat[self.uid_field].numpy(), self.inter_feat[ROW].numpy()
        counts = np.bincount(users, minlength=self.user_num)
        last = np.zeros(self.user_num, np.int64)
        np.maximum.at(last, users, rows - self.store.offsets[users])
        if np.any(last != counts):
            raise InputError(
                "This split does not train on the beginning of every user's sequence, so drawn histories would hold "
                "held-out items. Use eval_args with order: TO and split: LS, RS or TS."
            )
        kept, whole = np.where(counts > 0, counts + 1, 0), self.store.lengths()
        if self.n_added and np.any(kept < whole[: self.user_num] - _HELD_OUT):
            raise InputError(
                f"The added sequences of {self.dataset_name} were made from all but the last two items of every user, "
                "and this split holds out more. Use eval_args with split: {LS: valid_and_test}."
            )
        return self.store.view(lengths=np.concatenate([kept, whole[self.user_num :]]))

    def original_view(self) -> SequenceView:
        """Return `training_view` without the added sequences."""
        lengths = self.training_view().lengths()
        lengths[self.user_num :] = 0
        return self.store.view(lengths=lengths)

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """Return the (user, item) matrix of this split's targets and its users' first items."""
        first = np.flatnonzero(self.inter_feat[self.item_list_length_field].numpy() == 1)
        starts = self._windows_of(first)
        rows = {self.uid_field: torch.cat([self.inter_feat[self.uid_field], starts[self.uid_field]])}
        for field in filter(None, (self.iid_field, value_field)):
            rows[field] = torch.cat([self.inter_feat[field], starts[self._list_fields[field]][:, 0]])
        return self._create_sparse_matrix(Interaction(rows), self.uid_field, self.iid_field, form, value_field)

    def _drop_unused_col(self) -> None:
        """Drop the columns of `unused_col` and their histories (`<field>_list`)."""
        unused = (self.config["unused_col"] or {}).get("inter", ())
        for list_field in set(unused) & set(self._list_fields.values()):
            self.inter_feat[list_field] = self.inter_feat[ROW]  # so that RecBole finds a column to drop
        super()._drop_unused_col()
        self._list_fields = {field: name for field, name in self._list_fields.items() if name in self.field2type}
