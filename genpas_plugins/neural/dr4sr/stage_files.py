"""Files of the stages in one folder. A stage starts from what an earlier run left.

WORK/patterns.npz        what `mine_patterns` found
     regenerator.pt      the regenerator after its last whole epoch
     regenerated.npz     what `regenerate` wrote

Each file names the data and settings that it was made from. It is refused for others.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import Patterns
from genpas_plugins.support.atomic import replace_file
from genpas_plugins.support.checksums import array_crc32
from genpas_plugins.support.errors import InputError

PATTERNS, REGENERATOR, REGENERATED = "patterns.npz", "regenerator.pt", "regenerated.npz"

_MADE_FROM = "made_from"

MadeFrom = Mapping[str, Any]
StageT = TypeVar("StageT", Patterns, Regenerated)


def data_fingerprint(view: SequenceView) -> dict[str, int]:
    """Return the identity of a training view: items, sequences and a CRC-32 of lengths and items."""
    checksum = array_crc32([view.lengths(), view.store.values], "<i8")
    return {"n_items": view.store.n_items, "n_sequences": view.store.n_sequences, "crc32": checksum}


def save_stage(file: Path, made: Patterns | Regenerated, made_from: MadeFrom) -> None:
    """Write what a stage made atomically."""
    origin = np.frombuffer(json.dumps(made_from, sort_keys=True).encode(), np.uint8)
    named: dict[str, Any] = {_MADE_FROM: origin, **vars(made)}
    with replace_file(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **named)


def read_stage(file: Path, kind: type[StageT], made_from: MadeFrom) -> StageT | None:
    """Return what a stage made; None if the file is missing."""
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as archive:
            origin: dict[str, Any] = json.loads(archive[_MADE_FROM].tobytes())
            made = kind(**{field.name: archive[field.name] for field in fields(kind)})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is damaged ({error}); remove it to make it again.") from error
    wanted: dict[str, Any] = json.loads(json.dumps(made_from))
    if origin != wanted:
        changed = sorted(name for name in {*wanted, *origin} if origin.get(name) != wanted.get(name))
        raise InputError(
            f"{file} was made from other data or settings ({', '.join(changed)} changed); remove it to make it again, "
            "or choose another folder with --work."
        )
    return made
