"""What all commands print with: one JSON object, aligned lines, or a progress bar on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import typer

from genpas_plugins.support.json_text import to_json

Tell = Callable[[str, int, int | None], None]


def print_json(value: Any) -> None:
    """Print a value as one JSON object; infinities become "inf" and "-inf", NaN null, as JSON has neither."""
    typer.echo(to_json(value), nl=False)


def print_lines(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns; whole numbers with thousands separators."""
    counts = [(name, value, isinstance(value, int) and not isinstance(value, bool)) for name, value in rows]
    rows = [(name, f"{value:,}" if counted else str(value)) for name, value, counted in counts]
    width = max((len(name) for name, _ in rows), default=0) + 2
    for name, value in rows:
        typer.echo(f"{name:<{width}}{value}".rstrip())


@contextmanager
def progress_bar() -> Iterator[Tell]:
    """Yield tell(step, done, total), which moves a bar on stderr; nothing is drawn where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda step, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def tell(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done, total=total)

        yield tell


@contextmanager
def own_arguments_hidden() -> Iterator[None]:
    """Empty sys.argv: RecBole reads every --key=value in it as a setting, also in the processes it starts."""
    saved = sys.argv
    sys.argv = saved[:1]
    try:
        yield
    finally:
        sys.argv = saved


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed meanwhile to stderr, by processes started meanwhile too: stdout is for the JSON object."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 1)
        os.close(saved)
