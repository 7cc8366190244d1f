"""The plots of a table drawn by Matplotlib: pure functions of its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from genpas_plugins.experiments.columns import place_text
from genpas_plugins.experiments.rows import PROTOCOLS, RowResult, Spread, of_test
from genpas_plugins.experiments.table import Table
from genpas_plugins.support.atomic import replace_file

COLOURS = ("#0072b2", "#c44e00", "#00845f", "#a8538a", "#8a6a00", "#3d7fb5", "#7a4fc0", "#4d5766")
"""The colours of `genpas analyze`, which differ in print and for colour-blind eyes."""

MARKERS, DASHES = "osD^vPX*", ("-", "--", ":", "-.")
COLUMNS, PANEL, ENTRY = 3, (3.6, 3.0), 0.19
"""Panels side by side at most, inches of a panel, and inches of a line of the legend."""

LOGARITHMIC_FROM = 10  # an axis is logarithmic if its values differ by more than this factor

WIDE = 18  # words below a panel slant if they have more letters than this

Rows = Sequence[RowResult]


class Line(NamedTuple):
    """How a row is drawn: the title of its panel, its label in the legend and the number of its look."""

    panel: str
    label: str
    look: int


def validation_curves(name: str, rows: Rows, table: Table) -> Figure:
    """Draw the validation figure of each row against pairs seen. At least one row has a curve.

    A panel is a point of what is varied. If nothing is varied but rows have operators then a panel is a strategy
    and a colour an operator. Lines are means over the seeds and bands are one standard deviation. A panel without a
    run is left out.
    """
    lines = _lines(rows, table)
    panels = list(dict.fromkeys(line.panel for line, row in zip(lines, rows, strict=True) if row.curve))
    entries = len({line.label for line in lines})
    figure, axes = _panels(len(panels), entries, f"{name}: validation against pairs seen")
    for line, row in zip(lines, rows, strict=True):
        if row.curve:
            pairs, spreads = zip(*row.curve, strict=True)
            _line(axes[panels.index(line.panel)], line.look, line.label, pairs, spreads)
    for axis, panel in zip(axes, panels, strict=True):
        if panel:
            axis.set_title(panel, loc="left", fontsize="medium")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[0].set_xlim(0, None)
    return _finish(figure, axes, "training pairs seen", f"validation {table.metric}")


def along_curves(name: str, rows: Rows, table: Table) -> Figure:
    """Draw the test figure of every method against what is varied. Masked is beside unmasked.

    The axis has the first setting of the points. Words instead of numbers keep their order. Methods are then beside
    each other without a joining line.
    """
    assert table.along is not None
    values = [point[0][1] for point in table.points]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    numbers = numbers and len(set(values)) == len(values)
    places = values if numbers else list(range(len(values)))
    logarithmic = min(places) > 0 and max(places) > LOGARITHMIC_FROM * min(places)
    aside = 0.0 if numbers else 0.5 / len(table.rows)
    slanting = not numbers and len("".join(map(str, values))) > WIDE
    figure, axes = _panels(len(PROTOCOLS), len(table.rows), f"{name}: test by {table.along.name}")
    for axis, protocol in zip(axes, PROTOCOLS, strict=True):
        for index, method in enumerate(dict.fromkeys(row.method for row in rows)):
            place_of = dict(zip(table.points, places, strict=True))
            figures = [
                (place_of[row.at], row.spread(of_test(protocol, table.metric))) for row in rows if row.method == method
            ]
            known = sorted((place, spread) for place, spread in figures if spread is not None)
            x = [place + aside * (index - (len(table.rows) - 1) / 2) for place, _ in known]
            _line(axis, index, method, x, [spread for _, spread in known], joined=numbers)
        if logarithmic:
            axis.set_xscale("log")
        if not numbers:
            axis.set_xlim(-0.5, len(values) - 0.5)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticks(places, [str(value) for value in values])
        if slanting:
            axis.tick_params(axis="x", labelrotation=30)
            for label in axis.get_xticklabels():
                label.set_horizontalalignment("right")
        axis.set_title(protocol, loc="left", fontsize="medium")
    x_name = f"{table.along.name} (log)" if logarithmic else table.along.name
    return _finish(figure, axes, x_name, f"test {table.metric}")


def save(figure: Figure, stem: Path) -> None:
    """Write a figure as stem.svg and stem.png. The same figure gives the same bytes."""
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        with (
            mpl.rc_context({"svg.hashsalt": "genpas"}),
            replace_file(stem.with_name(f"{stem.name}.{kind}")) as temporary,
        ):
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)


def _panels(count: int, entries: int, title: str) -> tuple[Figure, list[Axes]]:
    lines = math.ceil(count / COLUMNS)
    columns = math.ceil(count / lines)
    height = max(PANEL[1] * lines + 0.4, ENTRY * entries + 0.5)
    figure = Figure(figsize=(PANEL[0] * columns + 1.6, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for number, axis in enumerate(axes):
        axis.tick_params(labelbottom=number + columns >= count)  # also above an empty place
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def _lines(rows: Rows, table: Table) -> list[Line]:
    if table.along is None and any("+" in row.method for row in rows):
        parts = [row.method.partition("+") for row in rows]
        additions = list(dict.fromkeys(addition for _, _, addition in parts))
        labels = [f"+{addition}" if addition else "nothing added" for addition in additions]
        return [Line(strategy, labels[k], k) for strategy, _, more in parts for k in [additions.index(more)]]
    methods = list(dict.fromkeys(row.method for row in rows))
    panels = [place_text(row.at, table) if row.at else "" for row in rows]
    return [Line(panel, row.method, methods.index(row.method)) for panel, row in zip(panels, rows, strict=True)]


def _line(
    axis: Axes, index: int, label: str, x: Sequence[float], spreads: Sequence[Spread], *, joined: bool = True
) -> None:
    if not spreads:
        return
    colour = COLOURS[index % len(COLOURS)]
    means = [spread.mean for spread in spreads]
    dashes = DASHES[index // len(COLOURS) % len(DASHES)] if joined else "none"
    axis.plot(x, means, linestyle=dashes, color=colour, marker=MARKERS[index % len(MARKERS)], markersize=5, label=label)
    deviations = [spread.sd for spread in spreads if spread.sd is not None]
    if len(deviations) == len(spreads):
        low, high = ([m + sign * sd for m, sd in zip(means, deviations, strict=True)] for sign in (-1, 1))
        if joined:
            axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        else:
            axis.vlines(x, low, high, color=colour, alpha=0.5)


def _finish(figure: Figure, axes: Sequence[Axes], x: str, y: str) -> Figure:
    """Name the outer axes from zero on and put one legend beside the panels."""
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
