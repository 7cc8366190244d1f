"""What all reports share: their two files with date and versions."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from genpas_plugins.support.atomic import replace_directory, replace_file
from genpas_plugins.support.environment import now, versions
from genpas_plugins.support.json_text import to_json

JSON_NAME, PAGE_NAME = "report.json", "report.html"


def made_with(distributions: Iterable[str]) -> dict[str, Any]:
    """Return the date and the versions of Python and of the distributions."""
    return {"date": now(), "versions": {**versions(distributions), "Python": platform.python_version()}}


def made_text(made: dict[str, Any]) -> str:
    """Write what `made_with` returned in one line."""
    return f"{made['date']} by {', '.join(f'{name} {version}' for name, version in made['versions'].items())}"


def write_files(report: dict[str, Any], page: str, directory: Path) -> None:
    """Write report.json and report.html into a directory that is made if missing: both whole or neither."""
    texts = {JSON_NAME: to_json(report), PAGE_NAME: page}
    with ExitStack() as files:
        folder = directory if directory.exists() else files.enter_context(replace_directory(directory))
        for name, text in texts.items():
            files.enter_context(replace_file(folder / name)).write_text(text, encoding="utf-8")
