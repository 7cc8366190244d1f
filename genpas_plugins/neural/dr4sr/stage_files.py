"""Files of the stages in one folder, so that a later stage starts from what an earlier run left.

WORK/patterns.npz        what `mine_patterns` found
     regenerator.pt      the regenerator after its last whole epoch
     regenerated.npz     what `regenerate` wrote

Each names the data and settings it was made from, and none is used for others.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import Patterns
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.atomic import replaced_file
from genpas_plugins.support.checksums import array_crc32
from genpas_plugins.support.errors import InputError

PATTERNS, REGENERATOR, REGENERATED = "patterns.npz", "regenerator.pt", "regenerated.npz"

_MADE_FROM = "made_from"

Made = Mapping[str, Any]


def data_fingerprint(view: SequenceView) -> dict[str, int]:
    """Return what tells one training view from another: items, training items, CRC-32 of sequences and lengths."""
    checksum = array_crc32([view.lengths(), view.store.values], "<i8")
    return {"n_items": view.store.n_items, "n_sequences": view.store.n_sequences, "crc32": checksum}


def save_patterns(file: Path, patterns: Patterns, made_from: Made) -> None:
    """Write patterns, complete or not at all."""
    _save(file, vars(patterns), made_from)


def read_patterns(file: Path, made_from: Made) -> Patterns | None:
    """Read patterns; None where the file is missing. Raises InputError where it is damaged or made from others."""
    arrays = _read(file, made_from, Patterns)
    return None if arrays is None else Patterns(**arrays)


def save_regenerated(file: Path, made: Regenerated, made_from: Made) -> None:
    """Write regenerated sequences, complete or not at all."""
    _save(file, vars(made), made_from)


def read_regenerated(file: Path, made_from: Made) -> Regenerated | None:
    """Read them; None where the file is missing. Raises InputError where it is damaged or made from others."""
    arrays = _read(file, made_from, Regenerated)
    return None if arrays is None else Regenerated(**arrays)


def _save(file: Path, arrays: Mapping[str, AnyArray], made_from: Made) -> None:
    told = np.frombuffer(json.dumps(made_from, sort_keys=True).encode(), np.uint8)
    named: dict[str, Any] = {_MADE_FROM: told, **arrays}
    with replaced_file(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **named)


def _read(file: Path, made_from: Made, kind: type[Any]) -> dict[str, AnyArray] | None:
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as archive:
            told = json.loads(archive[_MADE_FROM].tobytes())
            arrays = {name: archive[name] for name in kind.__dataclass_fields__}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is damaged ({error}); remove it to make it again.") from error
    wanted = json.loads(json.dumps(made_from))
    if told != wanted:
        changed = sorted(name for name in {*wanted, *told} if told.get(name) != wanted.get(name))
        raise InputError(
            f"{file} was made from other data or settings ({', '.join(changed)} changed); remove it to make it again, "
            "or choose another folder with --work."
        )
    return arrays
