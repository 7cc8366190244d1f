"""`mask_history: true`: full ranking leaves out the items of a user's history as in many papers.

RecBole does so only for general models. With the key every item before the target gets the score -inf. This
includes the items that MAX_ITEM_LIST_LENGTH cuts off. The target keeps its score: an item bought again can be a
hit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import recbole.data.dataset
import torch
from numpy.typing import ArrayLike
from recbole.config import Config
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor

from genpas_plugins import Pairs, SequenceStore, gather_jagged
from recbole_ext.dataset import ROW
from recbole_ext.genpas_key import Mistake

KEY = "mask_history"


@contextmanager
def keeping_sequences(dataset: SequentialDataset) -> Iterator[None]:
    """Keep the whole sequences of a data set while RecBole cuts them to MAX_ITEM_LIST_LENGTH."""
    store = _store_of_rows(dataset) if masks_history(dataset.config) else None
    yield
    if store is not None:
        dataset.store = store
        rows = np.delete(np.arange(store.offsets[-1]), store.offsets[:-1][store.lengths() > 0])
        dataset.inter_feat.update(Interaction({ROW: torch.from_numpy(rows)}))


def mask(loader: FullSortEvalDataLoader, index: Any, batch: Any) -> Any:
    """Return a loader's batch of these rows. If the key is set it has the items to mask."""
    interaction, history, *positive = batch
    if loader.is_sequential and masks_history(loader.config):
        history = history_index(loader._dataset, index)
    return (interaction, history, *positive)


def masks_history(config: Any) -> bool:
    """Tell whether the ranking leaves out the items of the history; by default it does not."""
    return bool(config[KEY])


def history_index(dataset: Any, index: ArrayLike) -> tuple[Tensor, Tensor]:
    """Return the items to mask for rows of a validation or test set: all before the target but the target's item.

    Parameters
    ----------
    dataset : data set of a configuration with `mask_history: true`
    index : int [n], row numbers

    Returns
    -------
    place : int64 [m]
        Place in `index` of each masked item, ascending.
    item : int64 [m]
        RecBole's number of the item.
    """
    rows = dataset.inter_feat[np.atleast_1d(np.asarray(index))]
    users, items = rows[dataset.uid_field].numpy(), rows[dataset.iid_field].numpy()
    store = dataset.store
    target = rows[ROW].numpy() - store.offsets[users]
    longest = max(1, int(target.max(initial=1)))
    history = gather_jagged(store.values, store.offsets, Pairs(users, np.zeros_like(target), target), longest)
    place = np.repeat(np.arange(len(users)), np.diff(history.offsets))
    masked = history.values != items[place]
    return torch.from_numpy(place[masked]), torch.from_numpy(history.values[masked].astype(np.int64))


def check(config: Config) -> Iterator[Mistake]:
    """Yield invalid values, misspelt keys and what keeps a run from masking."""
    final = config.final_config_dict
    for key in map(str, final):
        if key != KEY and difflib.get_close_matches(key.lower(), [KEY, KEY.replace("_", "")], cutoff=0.82):
            yield [key], f"there is no key {key!r}. Did you mean {KEY!r}?"
    value = final.get(KEY)
    if not isinstance(value, bool | None):
        yield [KEY], f"{KEY} must be true or false, not {value!r}."
    if not value:
        return
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        yield (
            [KEY],
            f"{KEY} is for sequential models; RecBole masks the history for {config.model} anyway. Remove the key.",
        )
    modes = {str(mode) for mode in config["eval_args"]["mode"].values()}
    if modes != {"full"}:
        yield (
            [KEY],
            f"{KEY} masks items in a ranking of all items, but eval_args has mode "
            f"{', '.join(sorted(modes))}, which ranks a few. Set mode: full or remove {KEY}.",
        )
    if config["benchmark_filename"] is not None:
        yield (
            [KEY],
            f"{KEY} needs every user's whole sequence, but benchmark_filename names data that are cut into "
            f"histories already. Give the interactions as one .inter file or remove {KEY}.",
        )
    own = getattr(recbole.data.dataset, f"{config.model}Dataset", SequentialDataset)
    if own.data_augmentation is not SequentialDataset.data_augmentation:
        yield (
            [KEY],
            f"{config.model} builds its own data set, in which the whole sequences are not kept. "
            f"Remove {KEY} or choose another model.",
        )


def _store_of_rows(dataset: SequentialDataset) -> SequenceStore:
    """Return the sequences of RecBole's raw rows by user number in the order of its prefixes."""
    dataset.sort(by=[dataset.uid_field, dataset.time_field], ascending=True)
    users = dataset.inter_feat[dataset.uid_field].numpy()
    offsets = np.searchsorted(users, np.arange(dataset.user_num + 1))
    items = dataset.inter_feat[dataset.iid_field].numpy().copy()
    return SequenceStore.from_arrays(items, offsets, n_items=dataset.item_num - 1)
