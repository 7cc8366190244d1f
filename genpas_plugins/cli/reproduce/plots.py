"""The figures of `genpas reproduce`, drawn by Matplotlib from a report's rows: pure functions of plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from genpas_plugins.atomic import replaced_file
from genpas_plugins.cli.reproduce.markdown import point_text
from genpas_plugins.cli.reproduce.rows import PROTOCOLS
from genpas_plugins.cli.reproduce.table import Table

COLOURS = ("#0072b2", "#c44e00", "#00845f", "#a8538a", "#8a6a00", "#3d7fb5", "#7a4fc0", "#4d5766")
"""As in the pages of `genpas analyze`, so that they differ in print and for colour-blind eyes."""

MARKERS, DASHES = "osD^vPX*", ("-", "--", ":", "-.")
COLUMNS, PANEL, ENTRY = 3, (3.6, 3.0), 0.19
"""Panels beside each other at most, the inches of one, and those of a line of the legend."""

LOGARITHMIC_FROM = 10
"""Values on an axis that differ by more than this factor stand on a logarithmic one."""

Rows = Sequence[Mapping[str, Any]]


def validation_curves(name: str, rows: Rows, table: Table) -> Figure:
    """Draw the validation figure of each row's chosen setting against pairs seen, a panel a point of what is varied.

    Lines are means over the seeds, bands one standard deviation. Points at which nothing has been run are left out; at
    least one row has a curve.
    """
    by_point = {point: [row for row in rows if tuple(row["point"].items()) == point] for point in table.points}
    panels = {point: shown for point, shown in by_point.items() if any(row["curve"] for row in shown)}
    figure, axes = _panels(len(panels), len(table.rows), f"{name}: validation against pairs seen")
    for axis, (point, shown) in zip(axes, panels.items(), strict=True):
        for index, row in enumerate(shown):
            curve = row["curve"]
            _line(axis, index, row["method"], [at["pairs"] for at in curve], [at["validation"] for at in curve])
        if point:
            axis.set_title(point_text(dict(point)), loc="left", fontsize="medium")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[0].set_xlim(0, None)
    return _finished(figure, axes, "training pairs seen", f"validation {table.metric}")


def along_curves(name: str, rows: Rows, table: Table) -> Figure:
    """Draw the test figure of every method against what is varied, masked beside unmasked.

    The axis is that of the points' first setting: logarithmic from a factor LOGARITHMIC_FROM on, and the points in
    their order where they are no numbers.
    """
    assert table.along is not None
    values = [point[0][1] for point in table.points]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    places = values if numbers and len(set(values)) == len(values) else list(range(len(values)))
    figure, axes = _panels(len(PROTOCOLS), len(table.rows), f"{name}: test by {table.along.name}")
    for axis, protocol in zip(axes, PROTOCOLS, strict=True):
        for index, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
            tested = {
                tuple(row["point"].items()): row["test"][protocol][table.metric.lower()]
                for row in rows
                if row["method"] == method and row["test"] is not None
            }
            known = sorted((place, point) for place, point in zip(places, table.points, strict=True) if point in tested)
            _line(axis, index, method, [place for place, _ in known], [tested[point] for _, point in known])
        if min(places) > 0 and max(places) > LOGARITHMIC_FROM * min(places):
            axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticks(places, [str(value) for value in values])
        axis.set_title(protocol, loc="left", fontsize="medium")
    return _finished(figure, axes, table.along.name, f"test {table.metric}")


def save(figure: Figure, stem: Path) -> None:
    """Write a figure as stem.svg and stem.png, the same bytes for the same figure."""
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        with (
            mpl.rc_context({"svg.hashsalt": "genpas"}),
            replaced_file(stem.with_name(f"{stem.name}.{kind}")) as temporary,
        ):
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)


def _panels(count: int, entries: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels on one pair of scales, as large as they and the legend beside them need."""
    lines = math.ceil(count / COLUMNS)
    columns = math.ceil(count / lines)
    height = max(PANEL[1] * lines + 0.4, ENTRY * entries + 0.5)
    figure = Figure(figsize=(PANEL[0] * columns + 1.6, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for number, axis in enumerate(axes):
        axis.tick_params(labelbottom=number + columns >= count)  # also above a place that stays empty
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def _line(axis: Axes, index: int, label: str, x: Sequence[float], spreads: Sequence[Mapping[str, Any]]) -> None:
    if not spreads:
        return
    colour = COLOURS[index % len(COLOURS)]
    means = [spread["mean"] for spread in spreads]
    dashes = DASHES[index // len(COLOURS) % len(DASHES)]
    axis.plot(x, means, dashes, color=colour, marker=MARKERS[index % len(MARKERS)], markersize=5, label=label)
    if all(spread["sd"] is not None for spread in spreads):
        low, high = ([spread["mean"] + sign * spread["sd"] for spread in spreads] for sign in (-1, 1))
        axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def _finished(figure: Figure, axes: Sequence[Axes], x: str, y: str) -> Figure:
    """Name the outer axes, which start at nought, and put one legend beside the panels."""
    highest = max(axis.dataLim.y1 for axis in axes)  # the panels share the scale
    axes[0].set_ylim(0, 1.05 * highest if highest > 0 else 1)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.xaxis.get_tick_params()["labelbottom"]:
            axis.set_xlabel(x)
        if axis.get_subplotspec().is_first_col():  # type: ignore[union-attr]  # panels of a grid have one
            axis.set_ylabel(y)
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside right upper", frameon=False, fontsize="small", handlelength=3)
    return figure
