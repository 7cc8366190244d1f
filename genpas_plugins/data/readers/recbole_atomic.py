"""RecBole's atomic files: tab-separated `.inter` whose header fields are `name:type`."""

from __future__ import annotations

from pathlib import Path

from genpas_plugins.data.source import Reader, ReadOptions, Source, files_of
from genpas_plugins.data.text_files import scan_delimited
from genpas_plugins.support.errors import InputError

SUFFIXES = (".inter",)
TYPES = ("token", "token_seq", "float", "float_seq")


def scan(source: str | Path, options: ReadOptions) -> Source:
    """Scan an atomic file or the only one in a directory. Columns are named without their types.

    Raises InputError that names file and field where the header is not `name:type`.
    """
    files = files_of(source, SUFFIXES)
    if len(files) > 1 and Path(source).is_dir():
        raise InputError(
            f"Directory {source} holds several .inter files ({', '.join(f.name for f in files)}); name one."
        )
    return scan_delimited(str(source), files, "\t", options, rename=_field_names)


def _field_names(file: Path, header: list[str]) -> list[str]:
    names = []
    for field in header:
        name, colon, kind = field.rpartition(":")
        if not colon or not name or kind not in TYPES:
            raise InputError(
                f"{file}, line 1: header field {field!r} is not of the form name:type "
                f"with a type out of {', '.join(TYPES)}; fields are separated by tabs."
            )
        names.append(name)
    return names


def _looks_like(head: bytes) -> bool:
    fields = head.split(b"\n", maxsplit=1)[0].decode("utf-8-sig", "replace").strip().split("\t")
    return any(":" in field for field in fields) and all(field.rpartition(":")[2] in TYPES for field in fields)


READER = Reader(
    "recbole",
    "RecBole's atomic .inter",
    SUFFIXES,
    scan,
    looks_like=_looks_like,
)
