"""Ids of users and items of any Arrow type and their numbers in a store."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from genpas_plugins.support.array_types import Int64
from genpas_plugins.support.errors import InputError

NULL_WORDS = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null", r"\N",
)  # fmt: skip
"""Texts that other tools read as a missing value."""
CAST_ERRORS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)


def as_ids(ids: ArrayLike | pa.Array, name: str) -> pa.Array:
    """Return ids as one Arrow array of plain values. Raises InputError for values of several types."""
    try:
        array = ids if isinstance(ids, pa.Array) else pa.array(ids)
    except CAST_ERRORS as error:
        raise InputError(f"{name} must be one row of values of one type: {error}") from error
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def places_of(wanted: pa.Array, known: pa.Array) -> Int64:
    """Return the int64 place of each wanted id among the known ids, or -1.

    Ids of two types are compared as whole numbers if both are and else as text. 7 is "7" but "07" is another id. Raises
    InputError for ids without a text form.
    """
    if wanted.type != known.type:
        both_whole = pa.types.is_integer(wanted.type) and pa.types.is_integer(known.type)
        kind = pa.int64() if both_whole else pa.large_string()
        try:
            wanted, known = wanted.cast(kind), known.cast(kind)
        except CAST_ERRORS as error:
            raise InputError(f"Ids of type {wanted.type} cannot be found among ids of type {known.type}.") from error
    import pyarrow.compute as pc  # 40 ms, for which `import genpas_plugins` has no use

    found = pc.index_in(wanted, value_set=known).fill_null(-1)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def numbers_of(ids: ArrayLike | pa.Array, known: pa.Array | None, count: int, *, first: int, kind: str) -> Int64:
    """Return the int64 numbers of ids.

    Parameters
    ----------
    ids
        Ids to look up.
    known
        The id of each number. None: the number is the id.
    count
        How many numbers there are from `first` on.
    first
        The lowest number.
    kind
        "user" or "item" for messages.

    Raises
    ------
    InputError
        An id is unknown or the ids are of another type.
    """
    wanted = as_ids(ids, f"{kind} ids")
    if known is None:
        known = pa.array(np.arange(first, first + count))
    try:
        found = places_of(wanted.cast(known.type), known)
    except CAST_ERRORS as error:
        raise InputError(f"These {kind} ids are of type {wanted.type}, the store's of {known.type}.") from error
    unknown = np.flatnonzero(found < 0)
    if len(unknown):
        example = wanted[int(unknown[0])].as_py()
        raise InputError(f"{len(unknown)} {kind} ids are not in the store, {example!r} the first of them.")
    return found + first
