"""The data sets of a table: existing stores and stores that are prepared once from a folder of data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genpas_plugins.data.temporal import COLUMN
from genpas_plugins.support.atomic import replace_file, write_text
from genpas_plugins.support.console import Tell
from genpas_plugins.support.errors import InputError, nearest
from genpas_plugins.support.json_text import to_json

SOURCE = "interactions.parquet"

FILES = ("semantic_ids",)  # settings that name a file; it may lie beside SOURCE

ORDER = ("position", "timestamp")  # columns to order a user's interactions by; the first that exists counts


def find_stores(
    names: Sequence[str], stores: Sequence[Path], data_dir: Path | None, work: Path, tell: Tell, *, times: bool = False
) -> dict[str, Path]:
    """Return the store of every data set. A store from `data_dir` is prepared in `work` once.

    It has the column timestamp if `times` are needed.

    Raises InputError for a data set that is missing or named twice. Data must have an order and be unchanged since
    their store.
    """
    if not names or not all(names) or len(set(names)) < len(names):
        raise InputError(f"--datasets {','.join(names)!r}: write different names, as beauty,toys.")
    given = {store.resolve().name: store for store in stores}
    if len(given) < len(stores):
        raise InputError("--stores: two stores have one name. A data set is named as its directory.")
    found = {}
    for name in names:
        if name in given:
            found[name] = given[name]
        elif data_dir is None:
            raise InputError(
                f"There is no store {name!r}.{nearest(name, given) if given else ''} Write it after --stores, or a "
                f"directory with {name}/{SOURCE} after --data-dir."
            )
        elif not (data_dir / name / SOURCE).is_file():
            raise InputError(_missing(name, data_dir))
        else:
            found[name] = work / "stores" / name
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n", encoding="utf-8")  # data and checkpoints are no results
    for name, store in found.items():
        if name not in given and data_dir is not None:
            _prepare(data_dir / name / SOURCE, store, tell, (COLUMN,) if times else ())
    return found


def bring_files(settings: Mapping[str, Any], source: Path, folder: Path) -> None:
    """Copy files that settings name by a relative path from a data set's folder into the folder where RecBole runs.

    Raises InputError if `folder` has another file of that name.
    """
    for name in (settings.get(key) for key in FILES):
        if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
            continue
        beside, file = source / name, folder / name
        if not beside.is_file():
            continue
        content = beside.read_bytes()
        if not file.exists():
            with replace_file(file) as temporary:
                temporary.write_bytes(content)
        elif not file.is_file() or file.read_bytes() != content:
            raise InputError(f"{file} and {beside} have different content. Remove the first one, or rename either.")


def _missing(name: str, data_dir: Path) -> str:
    if not data_dir.is_dir():
        return f"--data-dir {data_dir} does not exist; check the path."
    known = sorted(file.parent.name for file in data_dir.glob(f"*/{SOURCE}"))
    if not known:
        return f"--data-dir {data_dir} has no data set. A data set is a file NAME/{SOURCE}, here {name}/{SOURCE}."
    return f"{data_dir / name / SOURCE} does not exist.{nearest(name, known)}"


def _prepare(source: Path, store: Path, tell: Tell, kept: tuple[str, ...]) -> None:
    if store.exists():
        _check_note(source, store)
        return
    from genpas_plugins.data.prepare.build import build_store
    from genpas_plugins.data.readers import read

    columns = read(source).columns
    order = next((name for name in ORDER if name in columns), None)
    if order is None:
        raise InputError(
            f"{source} has neither {' nor '.join(ORDER)} to order a user's interactions by; its columns are "
            f"{', '.join(columns)}. Rename one of them, or run `genpas prepare --order COLUMN` and write its store "
            "after --stores."
        )
    # Before the store: a store without a note is of an older version.
    write_text(_note(store), to_json({"sha256": _checksum(source)}))
    build_store(str(source), store, user="user_id", item="item_id", order=order, columns=kept, progress=tell)


def _check_note(source: Path, store: Path) -> None:
    note = _note(store)
    if not note.exists():
        return
    try:
        checksum = json.loads(note.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{note} does not name the source of {store}. Remove {store} to prepare it again.") from error
    if _checksum(source) != checksum:
        raise InputError(
            f"{source} has other content than when {store} was prepared from it. Choose another --out, or remove "
            f"{store} to prepare it again, and the cells that the old one trained."
        )


def _note(store: Path) -> Path:
    return store.with_name(f"{store.name}.source.json")


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
