"""The command line: lists as input. Output is JSON, aligned lines, a table or a progress bar on stderr."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import typer

from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json

Tell = Callable[[str, int, int | None], None]
"""Reports progress: the name of a step, how much of it is done, and its total; None if the total is unknown."""


def split_list(text: str, option: str = "The list") -> list[str]:
    r"""Return the values of a list on the command line. Commas separate them and `\,` is a comma.

    Raises
    ------
    InputError
        If a value is empty. `option` is named.

    Examples
    --------
    >>> split_list(r"beauty, toys,a\,b")
    ['beauty', 'toys', 'a,b']
    """
    words = [word.strip().replace("\\,", ",") for word in re.split(r"(?<!\\),", text)]
    if not all(words):
        raise InputError(f"{option} {text!r} has an empty value. Write values with one comma between them, as a,b.")
    return words


def print_json(value: Any) -> None:
    """Print a value as one JSON object. Infinities become "inf" and "-inf". NaN becomes null."""
    typer.echo(to_json(value), nl=False)


def print_lines(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns. Counts get thousands separators but a seed does not."""
    lines = [(name, f"{value:,}" if type(value) is int and name != "seed" else str(value)) for name, value in rows]
    width = max((len(name) for name, _ in lines), default=0) + 2
    for name, value in lines:
        typer.echo(f"{name:<{width}}{value}".rstrip())


def figure(value: float, format_spec: str) -> str:
    """Write a figure; a dash if it does not exist."""
    return "–" if math.isnan(value) else format(value, format_spec)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],  # cells of each row; a row without cells draws a line
    *,
    title: str = "",
    caption: str = "",
    left: Sequence[str] = (),  # columns aligned to the left, beside the first one
) -> None:
    """Print a table. Nothing in it is read as markup."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, caption=caption or None, caption_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 or name in left else "right", no_wrap=place == 0)
    for cells in rows:
        if cells:
            table.add_row(*cells)
        else:
            table.add_section()
    # A pipe has no width: then wide enough for a table.
    Console(width=None if sys.stdout.isatty() else 150, highlight=False, markup=False).print(table)


@contextmanager
def progress_bar() -> Iterator[Tell]:
    """Yield a `Tell` that moves a bar on stderr. Nothing is drawn if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda step, done, total: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, progress.TaskID] = {}

        def tell(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield tell


@contextmanager
def hide_arguments() -> Iterator[None]:
    """Empty sys.argv because RecBole and all its processes read each --key=value there as a setting."""
    saved = sys.argv
    sys.argv = saved[:1]
    try:
        yield
    finally:
        sys.argv = saved


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send stdout of this process and its children to stderr. stdout is for the JSON object."""
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
