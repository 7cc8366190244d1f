"""Semantic IDs of other tools: one JSON object {item id: its codes}."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import ArrayLike

from genpas_plugins.data.ids import as_ids
from genpas_plugins.semantic_ids.codebook import CollisionPolicy, SemanticIds
from genpas_plugins.semantic_ids.codes import as_table, check_codes, groups_of, rows_of, sizes_of
from genpas_plugins.support.errors import InputError

_TOKEN = re.compile(r"<([A-Za-z]+)_([0-9]{1,9})>")


def read_index_json(
    file: str | Path,
    ids: ArrayLike | pa.Array | None = None,
    *,
    sizes: Sequence[int] | None = None,
    collisions: CollisionPolicy | None = None,
    seed: int = 0,
) -> SemanticIds:
    """Read an index file in LETTER's format: one JSON object {item id: its codes}.

    Parameters
    ----------
    file : its codes are integers or tokens such as "<a_12>" whose letters name the level
    ids : the wanted items in the order of their numbers. None: all items in the order of the file with text ids.
    sizes : number of codes of each level. None: what the highest code needs.
    collisions, seed : how `SemanticIds.resolve` adds a code if two items have equal codes. None: an error.

    Raises
    ------
    InputError
        The file is unusable or an item has no codes. The depths differ or a code is outside its level. Two items
        have equal codes.
    """
    path = Path(file)
    index = _read_index(path)
    rows = [_codes_of(path, item, codes) for item, codes in index.items()]
    wanted = pa.array(list(index), pa.string())
    table = as_table([[code for _, code in row] for row in rows], names=wanted)
    _require_one_letter(path, rows)
    if ids is not None:
        known, wanted = wanted, as_ids(ids, "ids")
        table = table[rows_of(wanted, known, f"{path}; make the index again for the whole catalogue")]
    origin = {"method": "index file", "file": path.name}
    known_sizes = tuple(sizes) if sizes is not None else sizes_of(table)
    table, known_sizes = check_codes(table, known_sizes, wanted)
    _, counts = groups_of(table, known_sizes)
    if len(counts) == len(table) or collisions is None:
        return SemanticIds(table, known_sizes, wanted, origin)
    return SemanticIds.resolve(table, known_sizes, policy=collisions, seed=seed, item_ids=wanted, origin=origin)


def _read_index(path: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{path} has item {twice!r} twice: an item has one semantic ID.")
        return content

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file ({error}).") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f'{path} must be one JSON object {{"item id": [codes], …}}.')
    return content


def _codes_of(path: Path, item: str, codes: Any) -> list[tuple[str, int]]:
    """Return the (letter, code) pairs of one entry. The letter of a plain integer is empty."""
    if not isinstance(codes, list) or not codes:
        raise InputError(f"{path}: item {item!r} needs a list of codes, not {codes!r}.")
    pairs = []
    for code in codes:
        token = _TOKEN.fullmatch(code) if isinstance(code, str) else None
        if token:
            pairs.append((token[1], int(token[2])))
        elif isinstance(code, int) and not isinstance(code, bool):
            pairs.append(("", code))
        else:
            raise InputError(
                f'{path}: item {item!r} has the code {code!r}; codes are integers or tokens like "<a_12>".'
            )
    return pairs


def _require_one_letter(path: Path, rows: list[list[tuple[str, int]]]) -> None:
    letters = [letter for letter, _ in rows[0]]
    for row in rows:
        for level, (letter, _) in enumerate(row):
            if letter != letters[level]:
                raise InputError(
                    f"{path}: level {level + 1} has the letters {letters[level]!r} and {letter!r}; "
                    "a level has one letter, so codes are missing or out of order."
                )
