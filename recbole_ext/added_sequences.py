"""Read `NAME.added.inter`: the sequences of a regenerated store that only train.

RecBole's own files hold the original sequences for training, validation and test. The store of a `WindowDataset` has
the added sequences after the original sequences. All their items train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from genpas_plugins import InputError
from genpas_plugins.data.recbole_files import ADDED_FIELDS, ADDED_SUFFIX
from genpas_plugins.support.array_types import Int64


class Added(NamedTuple):
    """The added sequences; sequence k is items[offsets[k] : offsets[k + 1]].

    Attributes
    ----------
    items : int64 [n_interactions], RecBole's item numbers
    offsets : int64 [n + 1], start of each sequence, and the end of the last
    owner : int64 [n], RecBole's number of the user whose sequence k was made from. 0 if there are several users
    """

    items: Int64
    offsets: Int64
    owner: Int64


def added_file(config: Any) -> Path:
    """Return the path of the file with added sequences; it may not exist."""
    return Path(config["data_path"]) / f"{config['dataset']}{ADDED_SUFFIX}"


def read_added(dataset: Any) -> Added | None:
    """Read the added sequences of a RecBole data set or return None. Its tokens must be numbered.

    Raises InputError for a damaged file or an item or user that the data set does not have.
    """
    file = added_file(dataset.config)
    if not file.is_file():
        return None
    sequence, user, item = ADDED_FIELDS
    text = pa.string()
    try:
        table = csv.read_csv(
            file,
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types={sequence: pa.int64(), user: text, item: text}, include_columns=ADDED_FIELDS
            ),
        )
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file} is damaged ({error}); export the store again.") from error
    number = table[sequence].to_numpy()
    first = np.flatnonzero(np.diff(number, prepend=-1))
    if not np.array_equal(number[first], np.arange(len(first))):
        raise InputError(f"{file} is damaged: its sequences are not numbered 0, 1, 2, …; export the store again.")
    items = _numbers(dataset, dataset.iid_field, table[item], file)
    owner = _numbers(dataset, dataset.uid_field, table[user].take(pa.array(first)), file)
    return Added(items, np.append(first, len(items)), owner)


def _numbers(dataset: Any, field: str, tokens: pa.ChunkedArray, file: Path) -> Int64:
    """Turn tokens into the data set's int64 numbers."""
    known = pa.array(np.asarray(dataset.field2id_token[field]).astype(str))
    found = pc.index_in(tokens, value_set=known)
    if found.null_count:
        token = tokens.filter(found.is_null())[0].as_py()
        raise InputError(
            f"{file}: the data set {dataset.dataset_name} has no {field} {token!r}. Export the regenerated store "
            "again, so that both files are of one store."
        )
    return np.asarray(found.to_numpy(), np.int64)
