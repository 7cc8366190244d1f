"""report.html: what semantic IDs look like, on one page that needs nothing but itself, no network and no script."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genpas_plugins.pages.analysis_page import STYLE
from genpas_plugins.pages.analysis_plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, dash, policy_class, swatch
from genpas_plugins.pages.svg import WIDTH, Scale, axes, drawing, element, label, line, percent, text_of, tip

_STYLE = """
.code{display:inline-block;min-width:2.1em;padding:0 .4em;border:1px solid var(--edge);border-radius:6px;
font:600 .9em/1.5 ui-monospace,"DejaVu Sans Mono","Liberation Mono",monospace;text-align:center;background:var(--bg)}
.items{margin:4px 0 14px;padding-left:1.1em;font-size:.95rem}.items:last-child{margin-bottom:0}.items li{margin:2px 0}
.numbers th{overflow-wrap:normal}.numbers p{margin:10px;font-size:.93rem}
.card h3,.card h4{margin:0 0 2px}.card h4{font-size:.95rem;font-weight:500}
"""
_POINTS = 160


def render_page(report: Mapping[str, Any]) -> str:
    """Return the page of a report, the dictionary that `report.build_report` makes."""
    title = f"Semantic IDs of {report['name']}" if report["name"] else "Semantic IDs"
    levels = report["compared_codes"]
    told = "".join(
        f'<li><p class="what">{_escape(what)}</p><p class="why">{_escape(why)}</p></li>' for what, why in _told(report)
    )
    legend = "".join(f"<li>{swatch(level)}code {level + 1}</li>" for level in range(levels))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{_escape(title)} – GenPAS</title>
<style>{STYLE}{_STYLE}</style>
</head>
<body>
<main>
<header>
<p class="soft">GenPAS · semantic IDs</p>
<h1>{_escape(title)}</h1>
<p class="lead">{_escape(_lead(report))}</p>
</header>
<section><h2>What to look at</h2><ul class="findings">{told}</ul></section>
<section><h2>How the codes are used</h2><ul class="legend" aria-label="Levels and how they are drawn">{legend}</ul>
<div class="grid">
{_figure("Are the codes used evenly?", "Items of each code, the most used code first; the thick line is even use.", _usage(report))}
{_figure("How fast does an ID narrow the catalogue down?", "Items that share an item's first codes, itself included, on average (full) and at most (pale); a logarithmic scale.", _narrowing(report))}
</div></section>
<section><h2>All numbers</h2><div class="numbers">{_table(report)}</div></section>
<section><h2>What stands under a prefix</h2>
<p class="soft">The first codes with the most items, and the second codes with the most under each. Items that stand
together should be alike.</p><div class="grid">{_prefix_cards(report["prefixes"])}</div></section>
<section><h2>Items with the same first {levels} codes</h2>{_collision_cards(report)}</section>
<section><h2>How they were made</h2><div class="about">{_about(report)}</div></section>
</main>
</body>
</html>
"""  # noqa: E501 – markup, a figure a line


def _lead(report: Mapping[str, Any]) -> str:
    sizes = report["sizes"]
    levels = report["compared_codes"]
    codes = ", ".join(f"{size:,}" for size in sizes[:levels])
    added = ""
    if levels < report["depth"]:
        added = f"; one more code, of {sizes[-1]:,}, tells apart the items for which these are the same"
    return f"{report['n_items']:,} items, each with {levels} codes out of {codes}{added}."


def _told(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    levels, use = report["compared_codes"], report["levels"][: report["compared_codes"]]
    weakest = min(use, key=lambda row: row["perplexity"] / row["codes"])
    after = report["tree"][levels - 1]
    told = [
        (
            f"{percent(report['collision_rate'])} of the items share their first {levels} codes with another item.",
            "What tells them apart says nothing about them, so a model has to learn it item by item. "
            f"There are {report['distinct']:,} different ones, and the largest group has {report['largest_group']:,}.",
        ),
        (
            f"Code {weakest['level']} is the least even: {weakest['used']:,} of {weakest['codes']:,} codes are used, "
            f"worth {weakest['perplexity']:,.1f} evenly used ones.",
            "That number is the perplexity. Codes that few items have are seldom trained on; codes that many have say "
            "little.",
        ),
        (
            f"After {'one code' if levels == 1 else f'{levels} codes'} an item stands among "
            f"{after['items_left']:,.2f} on average, after the first among {report['tree'][0]['items_left']:,.0f}.",
            "A beam search chooses among the first codes before it sees the rest, so its width has to cover them.",
        ),
    ]
    if report["reconstruction_error"] is not None:
        told.append(
            (
                f"The codes leave {percent(report['reconstruction_error'])} of the embeddings' variance unexplained.",
                "The reconstruction error, as a share of what the mean vector leaves: 0 % would be lossless.",
            )
        )
    return told


def _usage(report: Mapping[str, Any]) -> str:
    usage: Sequence[Sequence[int]] = report["usage"]
    widest = max(map(len, usage))
    x = Scale(1, max(2, widest), LEFT, RIGHT)
    y = Scale(0, max(1, *(counts[0] for counts in usage)) * 1.06, BOTTOM, TOP)
    body = axes(x, y, "codes, most used first", "items with the code")
    even = report["n_items"] / widest
    body += line([(x(1), y(even)), (x(widest), y(even))], "ref", "", f"even use: {even:,.1f} items a code")
    for level, counts in enumerate(usage):
        places = np.unique(np.linspace(0, len(counts) - 1, _POINTS).round().astype(int)).tolist()
        points = [(x(place + 1), y(counts[place])) for place in places]
        body += line(points, policy_class(level), dash(level), f"code {level + 1}")
    description = "; ".join(
        f"code {row['level']}: {row['used']:,} of {row['codes']:,} used, perplexity {row['perplexity']:,.1f}"
        for row in report["levels"][: len(usage)]
    )
    return drawing("usage", "Items of each code", description, body, HEIGHT)


def _narrowing(report: Mapping[str, Any]) -> str:
    rows = [
        (f"{row['level']} code{'s' if row['level'] > 1 else ''}", row["items_left"], row["items_left_max"])
        for row in report["tree"]
    ]
    # From a tenth: one item, the end of the way, still has a bar.
    x = Scale(0.1, max(2, report["n_items"]), 2, WIDTH - 150, log=True)
    body, at = "", 4.0
    for name, mean, most in rows:
        body += label(2, at + 14.5, name, class_="strong")
        for k, (value, written) in enumerate([(mean, f"{mean:,.{0 if mean > 99 else 2}f}"), (most, f"{most:,}")]):  # noqa: PLR2004 – decimals where they say something
            width, top = max(2.0, x(value) - 2), at + 22 + 18 * k
            hint = tip(f"{name}, {('mean', 'most')[k]}: {written}")
            shade = " pale" if k else ""
            body += element("rect", hint, x=2, y=top, width=round(width, 2), height=14, rx=2, class_=f"fill s0{shade}")
            body += label(
                width + 9, top + 11.5, f"{written} {('on average', 'at most')[k]}", class_="tick" if k else "value"
            )
        at += 68
    description = "; ".join(f"{name}: {text_of(mean)} on average, {most:,} at most" for name, mean, most in rows)
    return drawing("narrowing", "Items left after each code (logarithmic)", description, body, at)


def _table(report: Mapping[str, Any]) -> str:
    heads = ("codes", "used", "perplexity", "prefixes", "codes after one", "at most", "items left", "at most", "shared")
    body = ""
    for use, tree in zip(report["levels"], report["tree"], strict=True):
        values = (
            f"{use['codes']:,}",
            f"{use['used']:,}",
            f"{use['perplexity']:,.1f}",
            f"{tree['prefixes']:,}",
            f"{tree['children_mean']:,.2f}",
            f"{tree['children_max']:,}",
            f"{tree['items_left']:,.2f}",
            f"{tree['items_left_max']:,}",
            percent(tree["shared"]),
        )
        cells = "".join(f'<td data-label="{head}">{value}</td>' for head, value in zip(heads, values, strict=True))
        added = " (added)" if use["level"] > report["compared_codes"] else ""
        body += f'<tr><th scope="row">code {use["level"]}{added}</th>{cells}</tr>'
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    table = f'<table class="stack"><thead><tr><th>Level</th>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f"""{table}<p class="soft">Prefixes: different rows of the codes before this one, and how many codes follow
one, on average and at most. Items left: items with an item's codes up to this one, itself included. Shared: items that
are not alone with these.</p>"""


def _prefix_cards(prefixes: Sequence[Mapping[str, Any]]) -> str:
    cards = ""
    for prefix in prefixes:
        inner = "".join(
            f'<h4>{_codes(branch["codes"])} <span class="soft">{_items(branch["items"])}</span></h4>'
            + _list(branch["examples"])
            for branch in prefix["branches"]
        )
        cards += (
            f'<figure class="card"><h3>{_codes([prefix["code"]])} {_items(prefix["items"])}</h3>'
            f"<figcaption>Some of them, by their second code:</figcaption>{inner}</figure>"
        )
    return cards


def _collision_cards(report: Mapping[str, Any]) -> str:
    if not report["collision_groups"]:
        return '<p class="soft">There are none: these codes name every item.</p>'
    cards = "".join(
        f'<figure class="card"><h3>{_codes(group["codes"])} {_items(group["items"])}</h3>'
        f"{_list(group['examples'])}</figure>"
        for group in report["collision_groups"]
    )
    return f'<p class="soft">The largest groups, with some of their items.</p><div class="grid">{cards}</div>'


def _about(report: Mapping[str, Any]) -> str:
    made = report["made"]
    rows = [(str(key).replace("_", " "), _written(value)) for key, value in report["origin"].items()]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    rows += [(f"seconds, {step}", _written(taken)) for step, taken in made.get("seconds", {}).items()]
    rows += [("report made", f"{made['date']} by {versions}"), ("all figures", "report.json beside this page")]
    return "<dl>" + "".join(f"<dt>{_escape(key)}</dt><dd>{_escape(value)}</dd>" for key, value in rows) + "</dl>"


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_written, value))
    return "–" if value is None else str(value)


def _figure(heading: str, caption: str, drawn: str) -> str:
    return f"<figure><h3>{_escape(heading)}</h3><figcaption>{_escape(caption)}</figcaption>{drawn}</figure>"


def _codes(codes: Sequence[int]) -> str:
    return " ".join(f'<span class="code">{code}</span>' for code in codes)


def _items(count: int) -> str:
    return f"{count:,} item{'' if count == 1 else 's'}"


def _list(examples: Sequence[Mapping[str, Any]]) -> str:
    def shown(example: Mapping[str, Any]) -> str:
        item = _escape(str(example["item"]))
        return f'{_escape(example["title"])} <span class="soft">({item})</span>' if example["title"] else item

    return '<ul class="items">' + "".join(f"<li>{shown(example)}</li>" for example in examples) + "</ul>"


def _escape(text: str) -> str:
    return html.escape(text)
