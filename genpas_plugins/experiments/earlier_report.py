"""What an earlier call wrote about other data sets, to stand in this one's report too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genpas_plugins.experiments.markdown import section
from genpas_plugins.experiments.table import Table
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import as_json_value

_KEYS = {"table", "model", "metric", "seeds", "pairs", "datasets"}


def read_report(file: Path) -> dict[str, Any]:
    """Return a report, one without data sets where there is no file. Raises InputError for a file that is no report."""
    if not file.exists():
        return {"pairs": {}, "datasets": {}}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    known = isinstance(content, dict) and content.keys() >= _KEYS
    if not known or not all(isinstance(content[key], dict) for key in ("pairs", "datasets")):
        raise InputError(f"{file} was not written by `genpas reproduce`; move it or choose another --out.")
    report: dict[str, Any] = content
    return report


def head(table: Table) -> dict[str, Any]:
    """Return what a report says of its table."""
    along = None if table.along is None else table.along.name
    return {"table": table.file.name, "model": table.model, "metric": table.metric, "along": along}


def fits(report: Mapping[str, Any], name: str, table: Table, measured: Sequence[str]) -> bool:
    """Tell whether a report is of this table and has a data set's rows as the table has them now.

    That is, the same methods at the same points in the same order, with all that a section of Markdown shows.
    """
    if any(report.get(key) != value for key, value in head(table).items()):
        return False
    wanted = [(row.label, as_json_value(dict(point))) for point in table.points for row in table.rows]
    rows = report["datasets"][name]
    try:
        section(name, rows, table, measured)  # of an older version, or with other figures, it lacks something
        return name in report["pairs"] and [(row["method"], row["point"]) for row in rows] == wanted
    except (LookupError, TypeError, ValueError, AttributeError):
        return False
