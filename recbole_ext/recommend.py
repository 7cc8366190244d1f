"""Recommendations of a trained model for its users from their whole histories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genpas_plugins import InputError
from genpas_plugins.neural.layers.ranking_keys import read_keys, top_keys
from genpas_plugins.support.array_types import Int64
from genpas_plugins.support.errors import whole_number
from genpas_plugins.support.table_file import check_table_file, table_file
from recbole_ext.checkpoints import data_and_model, load
from recbole_ext.full_histories import FullHistories

SCHEMA = pa.schema([("user_id", pa.string()), ("item_id", pa.string()), ("rank", pa.int32()), ("score", pa.float32())])

_ROWS_AT_ONCE = 1 << 16  # rows of the file in memory


class Written(NamedTuple):
    """Numbers of users with recommendations, users without a history and written rows."""

    users: int
    skipped: int
    rows: int


class Ranked(NamedTuple):
    """Items `int64 [B, K]` of B users by RecBole's number and scores `float32 [B, K]`. A score is -inf without item."""

    items: Tensor
    scores: Tensor


def recommend(
    checkpoint: str | Path,
    out: str | Path,
    *,
    users: Sequence[str] | None = None,
    part: tuple[int, int] = (1, 1),
    top_k: int = 10,
    batch_size: int = 256,
    exclude_history: bool = False,
    device: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write the best items of every user to a file atomically.

    The model reads the last MAX_ITEM_LIST_LENGTH items of a user's whole history. This includes the validation and
    test items. The columns are the source's user_id and item_id, rank from 1 and the model's score. The score of a
    model that searches is a log-probability. Rows are sorted by user and then by rank. Equal scores are in RecBole's
    order of the items.

    Parameters
    ----------
    checkpoint : file that training wrote for a sequential model that ranks all items
    out : file to write, `.parquet`, `.jsonl` or `.csv`
    users : ids of users; default: all users
    part : (k, n) for the k-th of n slices of the users, from 1. The concatenated files of all slices equal the file
        of all users except the last bits of scores.
    top_k : items a user. Fewer if `exclude_history` leaves fewer.
    batch_size : users ranked together
    exclude_history : whether to leave out the items of the user's whole history
    device : "cpu" or "cuda"; default: a GPU if there is one
    overwrite : whether `out` may be replaced
    progress : called as progress(done, total) in users

    Returns
    -------
    Written
        What was written.

    Raises
    ------
    InputError
        For a checkpoint that does not load or changed data. For unknown users or an existing output file. For a
        `top_k` above the catalogue or a `part` that does not exist. For a model that cannot rank all items.
    """
    path = Path(out)
    n_parts = whole_number("the number of parts", part[1], 1)
    number = whole_number("part", part[0], 1, n_parts)
    top_k, batch_size = whole_number("top_k", top_k, 1), whole_number("batch_size", batch_size, 1)
    check_table_file(path, overwrite=overwrite)
    config, model = trained_model(Path(checkpoint), device)
    histories = FullHistories.of(config)
    n_items = histories.dataset.item_num - 1
    if top_k > n_items:
        raise InputError(f"top_k is {top_k:,}, but the catalogue has {n_items:,} items. Ask for at most as many.")
    chosen = np.array_split(histories.user_numbers(users), n_parts)[number - 1]
    with_history = chosen[histories.lengths[chosen] > 0]
    rows = 0
    with table_file(path, SCHEMA) as write:
        waiting: list[pa.Table] = []
        for first in range(0, len(with_history), batch_size):
            batch = with_history[first : first + batch_size]
            waiting.append(_table(histories, batch, best_items(model, histories, batch, top_k, exclude_history)))
            if sum(table.num_rows for table in waiting) >= _ROWS_AT_ONCE or first + batch_size >= len(with_history):
                table = pa.concat_tables(waiting)
                write(table)
                rows += table.num_rows
                waiting.clear()
            if progress is not None:
                progress(first + len(batch), len(with_history))
    return Written(len(with_history), len(chosen) - len(with_history), rows)


def trained_model(checkpoint: Path, device: str | None = None) -> tuple[Any, torch.nn.Module]:
    """Return a checkpoint's configuration and its model on `device`; None: a GPU if there is one."""
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InputError(f"There is no device {device!r}; use cpu or cuda.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device is {device!r}, but torch sees no GPU here; use cpu.")
    content = load(checkpoint, map_location=chosen)
    missing = {"config", "state_dict"} - content.keys()
    if missing:
        raise InputError(
            f"{checkpoint} has no {' and no '.join(sorted(missing))}. Give a checkpoint that training wrote."
        )
    config = content["config"]
    config["device"] = chosen
    folder = Path(config["data_path"])
    if not folder.is_dir():
        raise InputError(f"{checkpoint} was trained on {folder}, which does not exist here. Bring the data back.")
    try:
        model = data_and_model(content)[1]
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise InputError(
            f"{checkpoint} does not fit its data in {folder}: users or items have changed since. Train again, or bring "
            "the old data back."
        ) from error
    return config, model.eval()


@torch.no_grad()
def best_items(model: Any, histories: FullHistories, users: Int64, top_k: int, exclude_history: bool = False) -> Ranked:
    """Return the best items of users `int64 [B]`. `top_k` is at most the catalogue's size."""
    interaction, without = histories.batch(users).to(model.device), None
    if exclude_history:
        excluded = [histories.items(user) for user in users]
        row = np.repeat(np.arange(len(excluded)), [len(items) for items in excluded])
        without = tuple(torch.from_numpy(part).to(model.device) for part in (row, np.concatenate(excluded)))
    if hasattr(model, "best_items"):
        # A search may miss items: twice as many are searched for.
        items, scores = model.best_items(interaction, min(model.n_items - 1, 2 * top_k), without)
        return Ranked(items[:, :top_k], scores[:, :top_k])
    try:
        scores = model.full_sort_predict(interaction).view(len(users), -1)[:, : model.n_items].float()
    except NotImplementedError as error:
        raise InputError(f"{type(model).__name__} cannot rank all items at once (full_sort_predict).") from error
    scores[:, 0] = -torch.inf  # padding
    if without is not None:
        scores[without] = -torch.inf
    return Ranked(*read_keys(top_keys(scores, 0, top_k)))


def _table(histories: FullHistories, users: Int64, ranked: Ranked) -> pa.Table:
    items, scores = ranked.items.cpu().numpy(), ranked.scores.cpu().numpy()
    row, rank = np.nonzero(scores > -np.inf)
    columns = [
        pa.array(histories.user_ids(users)[row], pa.string()),
        pa.array(histories.item_ids(items[row, rank]), pa.string()),
        pa.array(rank + 1, pa.int32()),
        pa.array(scores[row, rank], pa.float32()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
