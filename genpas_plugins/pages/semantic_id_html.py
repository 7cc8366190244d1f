"""report.html of `genpas semantic-ids`: one page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from genpas_plugins.pages.analysis_plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, dash, policy_class, swatch
from genpas_plugins.pages.markup import Finding, Markup, definitions, element, findings_list, join, page, row, table
from genpas_plugins.pages.report_files import made_text
from genpas_plugins.pages.svg import WIDTH, Scale, axes, bar, drawing, label, line, percent, text_of

_POINTS = 160


def render_page(report: Mapping[str, Any]) -> str:
    """Return the page of a report that `semantic_id_report.build_report` made."""
    levels = report["compared_codes"]
    groups = report["collision_groups"]
    return page(
        "semantic_ids.html",
        ["style.css", "semantic_ids.css"],
        f"Semantic IDs of {report['name']}" if report["name"] else "Semantic IDs",
        lead=_lead(report),
        **_verdict(report)._asdict(),
        findings=findings_list(_findings(report)),
        legend=join(element("li", swatch(level), f"code {level + 1}") for level in range(levels)),
        usage=_usage(report),
        narrowing=_narrowing(report),
        numbers=_numbers(report),
        prefixes=join(map(_prefix_card, report["prefixes"])),
        levels=levels,
        collisions_lead="The largest groups, with some of their items."
        if groups
        else "There are none: these codes name every item.",
        collisions=join(
            element("figure", element("h3", *_named(group["codes"], group)), _list(group["examples"]), class_="card")
            for group in groups
        ),
        about=_about(report),
    )


def _lead(report: Mapping[str, Any]) -> str:
    levels, sizes = report["compared_codes"], report["sizes"]
    codes = ", ".join(f"{size:,}" for size in sizes[:levels])
    lead = f"{report['n_items']:,} items, each with {levels} codes out of {codes}."
    return lead + (f" One more code, of {sizes[-1]:,}, separates equal ones." if levels < report["depth"] else "")


class Verdict(NamedTuple):
    """Figures on whether the codes name the items and what to try."""

    choice: str
    why: str
    advice: str


def _verdict(report: Mapping[str, Any]) -> Verdict:
    levels, shared = report["compared_codes"], report["collision_rate"]
    if not shared:
        return Verdict(
            f"These {levels} codes name every item.",
            f"All {report['n_items']:,} rows differ.",
            "Whether similar items have similar codes is below: look at what a prefix holds.",
        )
    return Verdict(
        f"These {levels} codes name {percent(1 - shared)} of the items; the others share them.",
        f"There are {report['distinct']:,} different rows for {report['n_items']:,} items, and the largest group has "
        f"{report['largest_group']:,}. The added code says nothing about an item, so a model learns it item by item.",
        "More codes (--codes) or levels (--levels) separate more items. Fewer make more items share what is learnt: "
        "compare them by training.",
    )


def _findings(report: Mapping[str, Any]) -> list[Finding]:
    levels, use = report["compared_codes"], report["levels"][: report["compared_codes"]]
    weakest = min(use, key=lambda entry: entry["perplexity"] / entry["codes"])
    after = report["tree"][levels - 1]
    found = [
        Finding(
            f"Code {weakest['level']} is the least even: {weakest['used']:,} of {weakest['codes']:,} codes are used, "
            f"worth {weakest['perplexity']:,.1f} evenly used ones.",
            "That number is the perplexity. Codes of few items are seldom trained on; codes of many items say little.",
        ),
        Finding(
            f"After {'one code' if levels == 1 else f'{levels} codes'}, {after['items_left']:,.2f} items are left on "
            f"average; after the first code, {report['tree'][0]['items_left']:,.0f}.",
            "A beam search chooses among the first codes before it sees the rest, so its width must cover them.",
        ),
    ]
    if report["reconstruction_error"] is not None:
        found.append(
            Finding(
                f"The codes leave {percent(report['reconstruction_error'])} of the embeddings' variance unexplained.",
                "The reconstruction error is a share of the variance around the mean vector: 0 % would be lossless.",
            )
        )
    return found


def _usage(report: Mapping[str, Any]) -> Markup:
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
        f"code {entry['level']}: {entry['used']:,} of {entry['codes']:,} used, perplexity {entry['perplexity']:,.1f}"
        for entry in report["levels"][: len(usage)]
    )
    return drawing("usage", "Items of each code", description, body, HEIGHT)


def _narrowing(report: Mapping[str, Any]) -> Markup:
    # The scale begins at a tenth, so that one item still has a bar.
    x = Scale(0.1, max(2, report["n_items"]), 2, WIDTH - 150, log=True)
    body, described = Markup(), []
    for place, entry in enumerate(report["tree"]):
        name = f"{entry['level']} code{'s' if entry['level'] > 1 else ''}"
        mean, most, top = entry["items_left"], entry["items_left_max"], 4.0 + 68 * place
        body += label(2, top + 14.5, name, class_="strong")
        written = f"{mean:,.{0 if mean > 99 else 2}f} on average"  # noqa: PLR2004 – decimals where they say something
        body += bar(top + 22, x(mean) - 2, 14, written, hint=name, class_="s0", pale=False)
        body += bar(top + 40, x(most) - 2, 14, f"{most:,} at most", hint=name, class_="s0", pale=True)
        described.append(f"{name}: {text_of(mean)} on average, {most:,} at most")
    height = 4 + 68 * len(described)
    return drawing("narrowing", "Items left after each code (logarithmic)", "; ".join(described), body, height)


def _numbers(report: Mapping[str, Any]) -> Markup:
    heads = ("codes", "used", "perplexity", "prefixes", "codes after one", "at most", "items left", "at most", "shared")
    rows = []
    for use, tree in zip(report["levels"], report["tree"], strict=True):
        cells = (
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
        added = " (added)" if use["level"] > report["compared_codes"] else ""
        rows.append(row(f"code {use['level']}{added}", zip(heads, cells, strict=True)))
    return table(["Level", *heads], rows)


def _prefix_card(prefix: Mapping[str, Any]) -> Markup:
    heading = element("h3", *_named([prefix["code"]], prefix))
    lead = element("figcaption", "Some of them, by their second code:")
    branches = []
    for branch in prefix["branches"]:
        codes, items = _named(branch["codes"], branch)
        branches += [element("h4", codes, element("span", items, class_="soft")), _list(branch["examples"])]
    return element("figure", heading, lead, *branches, class_="card")


def _named(codes: Iterable[int], group: Mapping[str, Any]) -> tuple[Markup, str]:
    written = join((element("span", code, class_="code") for code in codes), " ") + " "
    return written, f"{group['items']:,} item{'' if group['items'] == 1 else 's'}"


def _list(examples: Iterable[Mapping[str, Any]]) -> Markup:
    def shown(example: Mapping[str, Any]) -> Markup:
        if not example["title"]:
            return element("li", example["item"])
        return element("li", example["title"], " ", element("span", f"({example['item']})", class_="soft"))

    return element("ul", *map(shown, examples), class_="items")


def _about(report: Mapping[str, Any]) -> Markup:
    made = report["made"]
    return definitions(
        {
            **{str(key).replace("_", " "): _written(value) for key, value in report["origin"].items()},
            **{f"seconds, {step}": _written(taken) for step, taken in made.get("seconds", {}).items()},
            "report made": made_text(made),
            "all figures": "report.json beside this page",
        }
    )


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_written, value))
    return "–" if value is None else str(value)
