"""Where the data sets of a table are: stores that exist, and stores that are prepared once from a folder of data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genpas_plugins.cli.output import Tell
from genpas_plugins.errors import InputError, nearest

STORES, SOURCE = "--stores", "interactions.parquet"


def find_stores(
    names: Sequence[str], stores: Sequence[Path], data_dir: Path | None, work: Path, tell: Tell
) -> dict[str, Path]:
    """Return the store of every data set; those of `data_dir` are prepared in `work` once.

    Raises InputError for a data set that is not there, and one that is asked for twice.
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
            known = sorted(file.parent.name for file in data_dir.glob(f"*/{SOURCE}"))
            raise InputError(f"{data_dir / name / SOURCE} does not exist.{nearest(name, known)}")
        else:
            found[name] = work / "stores" / name
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n", encoding="utf-8")  # data and checkpoints are no results
    for name, store in found.items():
        if name not in given and not store.exists():
            assert data_dir is not None
            _prepare(data_dir / name / SOURCE, store, tell)
    return found


def _prepare(source: Path, store: Path, tell: Tell) -> None:
    try:
        from genpas_plugins.readers import build_store, read
    except ModuleNotFoundError as error:
        if error.name != "polars":
            raise
        raise InputError("--data-dir needs polars: pip install 'genpas-plugins[readers]', or use --stores.") from error
    columns = read(str(source), None).columns
    order = next((name for name in ("position", "timestamp") if name in columns), None)
    build_store(str(source), store, user="user_id", item="item_id", order=order, progress=tell)
