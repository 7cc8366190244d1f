"""Text such as `sequential_data.txt` with one sequence a line: the user and then the items."""

from __future__ import annotations

from pathlib import Path

from genpas_plugins.data.raw_text import open_text, plain_files
from genpas_plugins.data.source import ROW, Reader, ReadOptions, Source, files_of, place_of

SUFFIXES = (".txt",)


def scan(source: str | Path, options: ReadOptions) -> Source:
    """Scan lines of a user and items. The columns are `user_id` and `item_id`."""
    import polars as pl

    files = files_of(source, SUFFIXES)
    plain, held = plain_files(files, options)
    fields = pl.col("line").str.strip_chars().str.split(" ")
    lines = pl.scan_lines(plain, glob=False, row_index_name=ROW).filter(pl.col("line").str.strip_chars() != "")

    def rows_in(file: Path) -> int:
        with open_text(plain[files.index(file)]) as stream:
            return sum(1 for _ in stream)

    return Source(
        name=str(source),
        frame=lines.select(ROW, user_id=fields.list.first(), item_id=fields.list.slice(1)),
        columns=("user_id", "item_id"),
        is_text=True,
        place=place_of(files, rows_in, lambda _, row: f"line {row + 1}"),
        held=held,
    )


def _looks_like(head: bytes) -> bool:
    """Whether the first lines are as many integers between spaces as the sequences are long."""
    lines = [line.strip().split(b" ") for line in head.splitlines()[:50]]
    return len({len(line) for line in lines}) > 1 and all(f.isdigit() for line in lines for f in line)


READER = Reader("sequences", "text of a user and items a line", SUFFIXES, scan, looks_like=_looks_like)
