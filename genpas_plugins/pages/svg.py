"""Scales, axes and shapes of the reports' figures as inline SVG.

A figure is WIDTH units wide and scales with its column. WIDTH is about the width of a phone. Colours are CSS
classes: `s0` and so on for policies and `ref` for the users. style.css sets them for light and dark screens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genpas_plugins.pages.markup import Markup, element, join

WIDTH = 420
N_COLOURS = 8
DASHES = ("", "7 3", "2 3", "10 3 2 3", "4 2", "12 4", "1 2", "6 2 1 2")
"""Dash patterns of the policies, so that colour is never the only difference."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic map of values low … high to places start … end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high, at = (
            (math.log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, about: int = 5) -> list[float]:
        """Return about `about` round values inside the scale."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first + 1) / (about + 1)))
            return [10.0**power for power in range(first, last + 1, every)]
        step = nice_step((self.high - self.low) / about)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]


def nice_step(rough: float) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that is at least `rough`.

    >>> nice_step(0.3), nice_step(7)
    (0.5, 10)
    """
    if rough <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(rough))
    step: float = next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9))
    return int(step) if step >= 1 else step


def text_of(value: float) -> str:
    """Write a number in few characters.

    >>> [text_of(v) for v in (0.25, 1200, 15000, 2_500_000, 0.00001)]
    ['0.25', '1,200', '15k', '2.5M', '10⁻⁵']
    """
    size = abs(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    for limit, divisor, unit in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= limit:
            return f"{value / divisor:.3g}{unit}"
    if size >= 1000:  # noqa: PLR2004 – the first number with a separator
        return f"{value:,.0f}"
    if 0 < size < 0.001:  # noqa: PLR2004 – four zeros are hard to count
        power = math.floor(math.log10(size) + 1e-9)
        factor = value / 10.0**power
        raised = f"10{str(power).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
        return raised if abs(factor - 1) < 1e-6 else f"{factor:.2g}·{raised}"  # noqa: PLR2004 – rounding of the division
    return f"{value:.4g}"


def percent(share: float) -> str:
    """Write a share in per cent. A small share gets a decimal.

    >>> percent(0.174), percent(0.004), percent(1), percent(0)
    ('17 %', '0.4 %', '100 %', '0 %')
    """
    shown = max(share, 0.0) * 100  # a sum of rounded shares may end just beyond 1
    if 0 < shown < 0.05:  # noqa: PLR2004 – would round to nought
        return "< 0.1 %"
    few = 0 < shown < 9.5 or 99.5 <= shown < 99.95  # noqa: PLR2004 – where a whole number says too little
    return f"{shown:.1f} %" if few else f"{shown:.0f} %"


def label(x: float, y: float, text: str, anchor: str = "start", class_: str = "", **more: object) -> Markup:
    """Return a piece of text at a place."""
    return element("text", text, x=round(x, 2), y=round(y, 2), text_anchor=anchor, class_=class_, **more)


def tip(text: str) -> Markup:
    """Return the text that a browser shows under the pointer."""
    return element("title", text)


def drawing(name: str, title: str, description: str, body: Markup, height: float) -> Markup:
    """Return a whole figure with a title and a description for screen readers."""
    return element(
        "svg",
        element("title", title, id=f"{name}-t"),
        element("desc", description, id=f"{name}-d"),
        body,
        id=name,
        viewBox=f"0 0 {WIDTH} {height:g}",
        role="img",
        aria_labelledby=f"{name}-t {name}-d",
        xmlns="http://www.w3.org/2000/svg",
    )


def axes(x: Scale, y: Scale, x_name: str, y_name: str, *, shares: tuple[bool, bool] = (False, False)) -> Markup:
    """Return grid lines, ticks and names of both axes. An axis of shares is in per cent."""
    writers = [percent if share else text_of for share in shares]
    parts = []
    for value in x.ticks():
        parts += [
            element("line", x1=x(value), x2=x(value), y1=y.start, y2=y.end, class_="grid"),
            label(x(value), y.start + 16, writers[0](value), "middle", "tick"),
        ]
    for value in y.ticks():
        parts += [
            element("line", x1=x.start, x2=x.end, y1=y(value), y2=y(value), class_="grid"),
            label(x.start - 6, y(value) + 4, writers[1](value), "end", "tick"),
        ]
    parts += [
        element("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"),
        label(x.end, y.start + 34, x_name, "end", "name"),
        label(4, y.end - 12, y_name, "start", "name"),
    ]
    return join(parts)


def line(points: Sequence[Point], class_: str, dash: str = "", title: str = "") -> Markup:
    """Return a curve through the points."""
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
    return element("path", *([tip(title)] if title else []), d=path, class_=f"line {class_}", stroke_dasharray=dash)


def bar(top: float, width: float, height: float, text: str, *, hint: str, class_: str, pale: bool) -> Markup:
    """Return a horizontal bar at the left edge with its figure beside it. The second of two figures is pale."""
    width = round(max(2.0, width), 2)
    class_ = f"fill {class_}" + (" pale" if pale else "")
    shape = element("rect", tip(f"{hint}: {text}"), x=2, y=top, width=width, height=height, rx=2, class_=class_)
    return shape + label(width + 9, top + 0.8 * height, text, class_="tick" if pale else "value")


def marker(index: int, x: float, y: float, class_: str, size: float = 6) -> Markup:
    """Return the mark of a policy: circle, square, triangle or diamond."""
    shapes = (
        None,
        [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
        [(0, -1.3), (1.1, 0), (0, 1.3), (-1.1, 0)],
        [(0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
    )
    shape = shapes[index % len(shapes)]
    if shape is None:
        return element("circle", cx=x, cy=y, r=size, class_=f"fill {class_}")
    corners = " ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in shape)
    return element("polygon", points=corners, class_=f"fill {class_}")
