"""The figures of the analysis page as inline SVG: pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from genpas_plugins.pages.markup import Markup, element, join
from genpas_plugins.pages.svg import (
    DASHES,
    N_COLOURS,
    WIDTH,
    Scale,
    axes,
    bar,
    drawing,
    label,
    line,
    marker,
    percent,
    text_of,
    tip,
)

LEFT, RIGHT, TOP, BOTTOM = 46, 404, 30, 238
HEIGHT = BOTTOM + 44
_BINS = 60
_TAIL = 0.1


def policy_class(index: int) -> str:
    """Return the CSS class of the policy at that place."""
    return f"s{index % N_COLOURS}"


def dash(index: int) -> str:
    """Return the dash pattern of the policy at that place."""
    return DASHES[index % len(DASHES)]


def swatch(index: int | None) -> Markup:
    """Return a legend's sample of a policy's line and mark; None: the line of the test."""
    class_ = "ref" if index is None else policy_class(index)
    body = line([(1, 7), (33, 7)], class_, "" if index is None else dash(index))
    if index is not None:
        body += marker(index, 17, 7, class_, 4.5)
    return element("svg", body, viewBox="0 0 34 14", class_="swatch", aria_hidden="true")


def cumulative_curves(ranks: Sequence[float], shares: Mapping[str, Sequence[float]]) -> Markup:
    """Draw the probability of the k items with the most requests in the test; one curve is "test"."""
    x = Scale(1, max(2, ranks[-1]), LEFT, RIGHT, log=True)
    y = Scale(0, 1, BOTTOM, TOP)
    body = axes(
        x, y, "items, most asked for in the test first", "share of all targets up to there", shares=(False, True)
    )
    for i, name in enumerate(_reference_first(shares)):
        points = [(x(k), y(share)) for k, share in zip(ranks, shares[name], strict=True)]
        body += _curve(points, name, i - 1)
    description = "; ".join(f"{name} reaches {percent(at_half(shares[name]))} half-way" for name in shares)
    return drawing("targets-cumulative", "Cumulative target distribution", description, body, HEIGHT)


def at_half(values: Sequence[float]) -> float:
    """Return the value in the middle of a curve."""
    return values[len(values) // 2]


def mean_curves(ranks: Sequence[float], means: Mapping[str, Sequence[float]]) -> Markup:
    """Draw an item's mean probability over its rank in the test. Both axes are logarithmic."""
    positive = [value for curve in means.values() for value in curve if value > 0]
    low, high = min(positive), max(positive)
    x = Scale(1, max(2, ranks[-1]), LEFT, RIGHT, log=True)
    y = Scale(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)), BOTTOM, TOP, log=True)
    body = axes(x, y, "items, most asked for in the test first", "probability of one item (mean nearby)")
    for i, name in enumerate(_reference_first(means)):
        # 0 has no logarithm, so the curve has a gap there.
        for piece in _pieces([(k, v) for k, v in zip(ranks, means[name], strict=True)]):
            body += _curve([(x(k), y(v)) for k, v in piece], name, i - 1)
    description = "The closer a policy's line is to the test's, the better the training targets resemble the requests."
    return drawing("targets-mean", "Target distribution by test popularity", description, body, HEIGHT)


def bars(
    name: str,
    title: str,
    groups: Mapping[str, Mapping[str, float]],
    order: Sequence[str],
    write: Callable[[float], str] = "{:.3f}".format,
) -> Markup:
    """Draw one bar a policy and group. The first group is full and the second pale. The lowest policy comes first."""
    sets = list(groups)
    rows = sorted(order, key=lambda policy: groups[sets[0]][policy])
    known = [v for values in groups.values() for v in values.values() if math.isfinite(v)]
    x = Scale(0, max([*known, 1e-9]), 2, WIDTH - 130)
    row, body, at = 28 + 20 * len(sets), Markup(), 4.0
    for policy in rows:
        index = order.index(policy)
        body += marker(index, 8, at + 10, policy_class(index), 5) + label(20, at + 14.5, policy, class_="strong")
        for k, (kind, values) in enumerate(groups.items()):
            value = values[policy]
            finite = math.isfinite(value)
            width, written = (x(value) - 2, write(value)) if finite else (RIGHT - 100.0, text_of(value))
            body += bar(
                at + 22 + 20 * k, width, 16, f"{written}  {kind}", hint=policy, class_=policy_class(index), pale=k > 0
            )
        at += row
    description = "; ".join(f"{p} " + ", ".join(f"{kind} {write(groups[kind][p])}" for kind in sets) for p in rows)
    return drawing(name, title, description, body, at)


def agreement_matrix(order: Sequence[str], agreement: Mapping[str, float], difference: Mapping[str, float]) -> Markup:
    """Draw a square for each pair of policies with ranking agreement and mean rank difference."""
    n = len(order)
    left = 10 + max(8.0 * max(map(len, order), default=0), 40)
    cell = min(96.0, (WIDTH - left - 4) / max(n, 1))
    size, body, top = min(15.0, cell / 4.2), Markup(), 26.0
    values = [v for v in agreement.values() if math.isfinite(v)]
    lowest = min([*values, 0.999])
    for i, row in enumerate(order):
        y = top + i * cell
        body += label(left - 8, y + cell / 2 + 4, row, "end", "strong small")
        body += marker(i, left + (i + 0.5) * cell, 12, policy_class(i), 5.5)
        for k, column in enumerate(order):
            key = next((key for key in (f"{row}|{column}", f"{column}|{row}") if key in agreement), None)
            x, middle = left + k * cell, y + cell / 2
            if key is None:
                body += element("rect", x=x + 1, y=y + 1, width=cell - 2, height=cell - 2, rx=3, class_="same")
                if i == k:
                    body += marker(i, x + cell / 2, middle, policy_class(i), 5.5)
                continue
            # The palest shade is the lowest agreement in the figure: differences matter here, not the absolute value.
            shade = 0.08 + 0.42 * (agreement[key] - lowest) / max(1 - lowest, 1e-9)
            hint = tip(
                f"{row} and {column}: agreement {agreement[key]:.3f}, mean rank difference {difference[key]:,.1f}"
            )
            body += element(
                "rect",
                hint,
                x=round(x + 1, 2),
                y=round(y + 1, 2),
                width=round(cell - 2, 2),
                height=round(cell - 2, 2),
                rx=3,
                class_="heat",
                fill_opacity=round(shade, 3),
            )
            body += label(
                x + cell / 2, middle - 1, f"{agreement[key]:.3f}", "middle", "strong", style=f"font-size:{size:.1f}px"
            )
            below = f"{difference[key]:,.1f}" if cell > 60 else text_of(difference[key])  # noqa: PLR2004 – room for it
            body += label(
                x + cell / 2, middle + size, below, "middle", "small", style=f"font-size:{min(11.5, size * 0.85):.1f}px"
            )
    description = "; ".join(f"{key.replace('|', ' and ')}: {value:.3f}" for key, value in agreement.items())
    return drawing("agreement", "Ranking agreement of every two policies", description, body, top + n * cell + 4)


def ratio_scatter(values: Mapping[str, Mapping[str, float | None]], order: Sequence[str]) -> Markup:
    """Draw alignment over discrimination with rays of equal ratio."""
    known = [p for p in order if _finite(values[p].get("alignment")) and _finite(values[p].get("discrimination"))]
    if not known:
        return Markup()
    xs = [float(values[p]["discrimination"] or 0) for p in known]
    ys = [float(values[p]["alignment"] or 0) for p in known]
    x, y = (Scale(*_padded(v), *ends) for v, ends in ((xs, (LEFT + 6, RIGHT)), (ys, (BOTTOM, TOP))))
    cut = ["" if scale.low <= 0 else f", from {text_of(scale.low)}" for scale in (x, y)]  # axes that do not begin at 0
    body = axes(x, y, f"discrimination (lower is better{cut[0]})", f"alignment (higher is better{cut[1]})")
    ratios = [b / a for a, b in zip(xs, ys, strict=True) if a > 0]
    for ratio in Scale(min(ratios, default=0), max(ratios, default=0), 0, 1).ticks(3) if len(set(ratios)) > 1 else []:
        body += _ray(ratio, x, y)
    taken = [(x(a) - 9, x(a) + 9, y(b) + 4) for a, b in zip(xs, ys, strict=True)]
    for name, a, b in zip(known, xs, ys, strict=True):
        i, px, py = order.index(name), x(a), y(b)
        hint = f"{name}: alignment {b:.4g}, discrimination {a:.4g}" + (f", ratio {b / a:.2f}" if a > 0 else "")
        body += element("g", tip(hint) + marker(i, px, py, policy_class(i), 7))
        end = px > (LEFT + RIGHT) * 0.62
        error = values[name].get("standard_error")
        shown = name + (f" ({b / a:.2f}{'' if error is None else f' ± {error:.2g}'})" if a > 0 else "")
        width = 7.2 * len(shown)
        span = (px - 12 - width, px - 12.0) if end else (px + 12.0, px + 12 + width)
        # The nearest free line; where all are taken the names overlap, and the table has the numbers.
        near = [py + 4 + 15 * step for step in (0, 1, -1, 2, -2, 3, -3, 4, -4)]
        at = next((a for a in near if TOP < a < BOTTOM - 4 and _free(*span, a, taken)), py + 4)
        taken.append((*span, at))
        body += label(px + (-12 if end else 12), at, shown, "end" if end else "start", "strong small halo")
    description = "; ".join(
        f"{n}: alignment {b:.4g}, discrimination {a:.4g}" for n, a, b in zip(known, xs, ys, strict=True)
    )
    return drawing("ratio", "Alignment against discrimination", description, body, HEIGHT)


def histogram(name: str, title: str, x_name: str, shares: Mapping[str, Sequence[float]], first: int = 0) -> Markup:
    """Draw histograms over the numbers from `first` on as lines without the upper tail.

    `shares` has the probabilities of the numbers for each policy in lists of any lengths. "test" is the reference.
    """
    cumulative = {policy: np.cumsum(np.asarray(values, dtype=float)) for policy, values in shares.items()}
    last = max(int(np.searchsorted(c, c[-1] * (1 - _TAIL))) for c in cumulative.values())
    last = max(last, 4)
    width = max(1, math.ceil((last + 1) / _BINS))
    edges = np.arange(0, last + 1 + width, width)
    binned: dict[str, list[float]] = {}
    for policy, values in shares.items():
        padded = np.zeros(edges[-1])
        padded[: min(len(values), len(padded))] = np.asarray(values, dtype=float)[: len(padded)]
        binned[policy] = padded.reshape(-1, width).sum(1).tolist()
    middles = (edges[:-1] + (width - 1) / 2 + first).tolist()
    x = Scale(first, middles[-1], LEFT, RIGHT)
    y = Scale(0, max(max(values) for values in binned.values()) * 1.06, BOTTOM, TOP)
    y_name = "share of pairs" + (" and of test users" if "test" in shares else "")
    y_name += f" ({width} together)" if width > 1 else ""
    end, longest = int(edges[-1]) - 1 + first, max(map(len, shares.values())) - 1 + first
    ends = f" (to {end:,}; the largest is {longest:,})" if longest > end else ""
    body = axes(x, y, x_name + ends, y_name, shares=(False, True))
    policies = [policy for policy in binned if policy != "test"]
    for policy in ["test", *policies] if "test" in binned else policies:
        points = [(x(at), y(value)) for at, value in zip(middles, binned[policy], strict=True)]
        index = -1 if policy == "test" else policies.index(policy)
        body += _curve(points, policy, index)
        if index >= 0 and len(points) <= _BINS // 2:
            body += join(marker(index, px, py, policy_class(index), 3) for px, py in points)
    description = "; ".join(
        f"{p}: most often {middles[int(np.argmax(v))]:g} ({percent(max(v))})" for p, v in binned.items()
    )
    beyond = f" The axis ends at {end:,}, the largest is {longest:,}." if ends else ""
    return drawing(name, title, f"{description}.{beyond}", body, HEIGHT)


def stacked_shares(name: str, title: str, rows: Mapping[str, Mapping[str, float]], order: Sequence[str]) -> Markup:
    """Draw each row as one bar that is split into shares. Row "test" is the reference."""
    body, at = Markup(), 4.0
    for row, parts in rows.items():
        index = order.index(row) if row in order else None
        if index is not None:
            body += marker(index, 8, at + 10, policy_class(index), 5)
        body += label(20 if index is not None else 2, at + 14.5, row, class_="strong")
        total = sum(parts.values()) or 1
        left, dropped = 2.0, []
        for k, (part, value) in enumerate(parts.items()):
            share = value / total
            width = share * (WIDTH - 4)
            body += element(
                "rect",
                tip(f"{row}, {part}: {percent(share)}"),
                x=round(left, 2),
                y=at + 22,
                width=round(max(width - 1.5, 0.5), 2),
                height=24,
                rx=2,
                class_=f"part p{min(k, 3)}" + (" ref-part" if index is None else ""),
            )
            written = f"{part}  {percent(share)}"
            if width > 7.4 * len(written):
                body += label(left + width / 2, at + 38.5, written, "middle", f"on-p{min(k, 3)} small")
            elif width > 36:  # noqa: PLR2004 – room for the percentage alone
                body += label(left + width / 2, at + 38.5, percent(share), "middle", f"on-p{min(k, 3)} small")
            else:
                dropped.append(written)
            left += width
        if dropped:  # too narrow for their text: beside the name
            body += label(WIDTH - 2, at + 14.5, ", ".join(dropped), "end", "tick")
        at += 56
    description = "; ".join(
        f"{row}: " + ", ".join(f"{p} {percent(v)}" for p, v in parts.items()) for row, parts in rows.items()
    )
    return drawing(name, title, description, body, at)


def _reference_first(curves: Mapping[str, Sequence[float]]) -> list[str]:
    return ["test", *(name for name in curves if name != "test")]


def _curve(points: Sequence[tuple[float, float]], name: str, index: int) -> Markup:
    reference = name == "test"
    return line(points, "ref" if reference else policy_class(index), "" if reference else dash(index), name)


def _pieces(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point[1] > 0:
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _free(left: float, right: float, at: float, taken: Sequence[tuple[float, float, float]]) -> bool:
    return all(abs(at - y) >= 14 or right < a or b < left for a, b, y in taken)  # noqa: PLR2004 – a line's height


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.28 or abs(high) * 0.3 or 1.0
    return max(low - room, 0.0) if low >= 0 else low - room, high + room


def _ray(ratio: float, x: Scale, y: Scale) -> Markup:
    """Return the named part of the ray alignment = ratio × discrimination inside the axes."""
    candidates = [x.low, x.high, y.low / ratio, y.high / ratio] if ratio > 0 else []
    inside: Callable[[float], bool] = lambda a: x.low <= a <= x.high and y.low * 0.999 <= a * ratio <= y.high * 1.001  # noqa: E731
    ends = sorted(a for a in candidates if inside(a))
    if len(ends) < 2 or x(ends[-1]) - x(ends[0]) < 30:  # noqa: PLR2004 – only a corner
        return Markup()
    a, b = ends[0], ends[-1]
    drawn = element("line", x1=x(a), y1=y(a * ratio), x2=x(b), y2=y(b * ratio), class_="ray")
    at_top = y(b * ratio) < TOP + 8
    return drawn + label(x(b) - (0 if at_top else 4), y(b * ratio) - 4, f"ratio {text_of(ratio)}", "end", "tick")
