"""CSV, TSV and other delimited text with a header line or the columns of `ReadOptions`."""

from __future__ import annotations

from pathlib import Path

from genpas_plugins.data.raw_text import head_of
from genpas_plugins.data.source import Reader, ReadOptions, Source, files_of
from genpas_plugins.data.text_files import scan_delimited

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data")
_SEPARATORS = ("\t", "::", ",", ";", "|", " ")


def scan(source: str | Path, options: ReadOptions) -> Source:
    """Scan delimited files with equal header lines.

    The separator is the first of tab, `::`, comma, semicolon, bar and space that is in the first line. With comma,
    semicolon or bar the fields may be in double quotes. Raises InputError where the header is unusable.
    """
    files = files_of(source, SUFFIXES)
    first = head_of(files[0], options).splitlines()[:1] or [b""]
    separator = next((separator for separator in _SEPARATORS if separator.encode() in first[0]), ",")
    quoted = separator in (",", ";", "|")
    return scan_delimited(str(source), files, separator, options, names=options.columns or None, quoted=quoted)


READER = Reader("csv", "CSV, TSV or text with a header line", SUFFIXES, scan)
