"""Where the data sets of a table are: stores that exist, and stores that are prepared once from a folder of data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genpas_plugins.experiments.prepared_source import check_note, write_note
from genpas_plugins.support.console import Tell
from genpas_plugins.support.errors import InputError, nearest

STORES, SOURCE = "--stores", "interactions.parquet"

ORDER = ("position", "timestamp")
"""Columns to order a user's interactions by; the first that is there counts."""


def find_stores(
    names: Sequence[str], stores: Sequence[Path], data_dir: Path | None, work: Path, tell: Tell
) -> dict[str, Path]:
    """Return the store of every data set; those of `data_dir` are prepared in `work` once.

    Raises InputError for a data set that is not there, one that is asked for twice, one whose file says no order, and a
    prepared one whose file has changed since.
    """
    if not names or not all(names) or len(set(names)) < len(names):
        raise InputError(f"--datasets {','.join(names)!r}: write names that differ, comma-separated, as beauty,toys.")
    given = {store.resolve().name: store for store in stores}
    if len(given) < len(stores):
        raise InputError(f"{STORES}: two stores have one name; a data set is named as its directory is.")
    found = {}
    for name in names:
        if name in given:
            found[name] = given[name]
        elif data_dir is None:
            raise InputError(
                f"There is no store {name!r}.{nearest(name, given) if given else ''} Name it behind {STORES}, or a "
                f"directory with {name}/{SOURCE} behind --data-dir."
            )
        elif not (data_dir / name / SOURCE).is_file():
            raise InputError(_missing(name, data_dir))
        else:
            found[name] = work / "stores" / name
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n", encoding="utf-8")  # data and checkpoints are no results
    for name, store in found.items():
        if name in given:
            continue
        assert data_dir is not None
        source = data_dir / name / SOURCE
        if store.exists():
            check_note(source, store)
        else:
            _prepare(source, store, tell)
    return found


def _missing(name: str, data_dir: Path) -> str:
    """Return what to say of a data set that `data_dir` has not."""
    if not data_dir.is_dir():
        return f"--data-dir {data_dir}: there is no such directory; check the path."
    known = sorted(file.parent.name for file in data_dir.glob(f"*/{SOURCE}"))
    if not known:
        return f"--data-dir {data_dir} has no data set; a data set is a file NAME/{SOURCE} in it, here {name}/{SOURCE}."
    return f"{data_dir / name / SOURCE} does not exist.{nearest(name, known)}"


def _prepare(source: Path, store: Path, tell: Tell) -> None:
    from genpas_plugins.data.readers import read

    columns = read(source).columns
    order = next((name for name in ORDER if name in columns), None)
    if order is None:
        raise InputError(
            f"{source} has neither {' nor '.join(ORDER)} to order a user's interactions by; its columns are "
            f"{', '.join(columns)}. Name one of them so, or run `genpas prepare --order COLUMN` and give its store "
            f"behind {STORES}."
        )
    from genpas_plugins.data.prepare.build import build_store

    write_note(source, store)  # before the store: a store without a note is one of an older version
    build_store(str(source), store, user="user_id", item="item_id", order=order, progress=tell)
