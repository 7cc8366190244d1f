"""CSV and TSV with a header line, plain or gzipped."""

from __future__ import annotations

from pathlib import Path

from genpas_plugins.data.source import Reader, Source, files_of
from genpas_plugins.data.text_files import header_of, scan_delimited

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


def scan(source: str | Path) -> Source:
    """Scan CSV or TSV files with equal header lines.

    The separator is the tab for .tsv. Otherwise it is the comma, semicolon or tab, whichever the header has first in
    this order. Raises InputError that names file and line where the header is unusable.
    """
    files = files_of(source, SUFFIXES)
    return scan_delimited(str(source), files, _separator(files[0]))


def _separator(file: Path) -> str:
    if file.name.endswith((".tsv", ".tsv.gz")):
        return "\t"
    header = header_of(file, "\x01")[0]
    return next((separator for separator in ",;\t" if separator in header), ",")


READER = Reader("csv", "CSV or TSV with a header line", SUFFIXES, scan)
