"""report.html: the report's figures on one page that needs nothing but itself, no network and no script."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genpas_plugins.pages import analysis_plots
from genpas_plugins.pages.findings import findings
from genpas_plugins.pages.svg import percent

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1a1f29;--soft:#596273;--edge:#e1e5eb;--grid:#e8ebf0;
--c0:#0072b2;--c1:#c44e00;--c2:#00845f;--c3:#a8538a;--c4:#8a6a00;--c5:#3d7fb5;--c6:#7a4fc0;--c7:#4d5766;
--p0:#16385c;--p1:#4d83b8;--p2:#bcd5ea;--p3:#dfe8f0;--heat:#2b7bba}
@media (prefers-color-scheme:dark){:root{--bg:#12151b;--card:#1b2028;--ink:#e9edf3;--soft:#a0aaba;--edge:#2b323d;
--grid:#2a303a;--c0:#56b4e9;--c1:#ff9152;--c2:#3ccf9f;--c3:#e69bcb;--c4:#e6c34a;--c5:#9cc7ee;--c6:#b99cf5;--c7:#b5bfcd;
--p0:#a9d0f5;--p1:#5b93c9;--p2:#2c4a6b;--p3:#22303f;--heat:#3f8fd0}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Ubuntu,
"Liberation Sans","DejaVu Sans",sans-serif;overflow-wrap:anywhere}
main{max-width:1180px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:clamp(1.45rem,4vw,2.1rem);line-height:1.2;margin:8px 0 6px;letter-spacing:-.01em}
h2{font-size:1.25rem;margin:40px 0 4px}h3{font-size:1.02rem;margin:0 0 4px}
p{margin:0 0 8px}.soft,figcaption,.why{color:var(--soft)}.lead{max-width:72ch}
.legend{display:flex;flex-wrap:wrap;gap:6px 18px;list-style:none;margin:14px 0 0;padding:0;font-size:.94rem;font-weight:600}
.legend li{display:flex;align-items:center;gap:8px}.swatch{width:34px;height:14px;flex:none}
.findings{list-style:none;margin:16px 0 0;padding:0;display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr))}
.findings li,figure,.numbers,.about{background:var(--card);border:1px solid var(--edge);border-radius:12px;padding:16px 18px}
.findings li p:last-child{margin:0}.findings .what{font-weight:600;line-height:1.42}.why{font-size:.93rem}
.grid{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));margin-top:14px}
figure{margin:0;min-width:0}figcaption{font-size:.93rem;margin:0 0 12px}
figure>svg{display:block;width:100%;height:auto;max-width:600px;margin:0 auto}
svg text{fill:var(--ink);font-size:12.5px}svg .tick{fill:var(--soft);font-size:11.5px}svg .name{fill:var(--soft);font-size:12px}
svg .strong{font-weight:600}svg .small{font-size:12px}svg .value{font-weight:600;font-size:12px}
svg .halo{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
svg line.grid{stroke:var(--grid);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.ray{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 4}
.line{fill:none;stroke:var(--c);stroke-width:2.1;stroke-linejoin:round;stroke-linecap:butt}
.fill{fill:var(--c)}.pale{fill-opacity:.32;stroke:var(--c);stroke-width:1}
.ref{--c:var(--soft)}.line.ref{stroke-width:5;stroke-opacity:.45}
.s0{--c:var(--c0)}.s1{--c:var(--c1)}.s2{--c:var(--c2)}.s3{--c:var(--c3)}.s4{--c:var(--c4)}.s5{--c:var(--c5)}
.s6{--c:var(--c6)}.s7{--c:var(--c7)}
.heat{fill:var(--heat)}.same{fill:var(--grid)}
.p0{fill:var(--p0)}.p1{fill:var(--p1)}.p2{fill:var(--p2)}.p3{fill:var(--p3)}
svg .on-p0{fill:#fff}svg .on-p1{fill:#fff}svg .on-p2,svg .on-p3{fill:#12304d}
@media (prefers-color-scheme:dark){svg .on-p0,svg .on-p1{fill:#0c1a29}svg .on-p2,svg .on-p3{fill:#e9edf3}}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.93rem}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--edge);vertical-align:top}
th[scope=row],thead th:first-child{text-align:left;font-weight:500}tr.part th{text-align:left;font-weight:700;padding-top:18px}
tbody tr:last-child>*{border-bottom:0}
table+table{margin-top:28px}
.numbers{margin-top:14px;padding:8px 12px}.about{margin-top:14px}.about dl{display:grid;grid-template-columns:max-content 1fr;
gap:4px 18px;margin:0}.about dt{color:var(--soft)}.about dd{margin:0}
@media (max-width:700px){main{padding:14px 12px 32px}.findings li,figure,.about{padding:14px 12px}
.stack thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}.stack tr,.stack th,.stack td{display:block;border:0}
.stack tr{border-bottom:1px solid var(--edge);padding:8px 0}.stack th{padding:0 4px 2px}.stack tr.part{border:0;padding:14px 0 0}
.stack tr.part th{padding:0 4px}.stack th[scope=row]{font-weight:600}
.stack td{display:flex;justify-content:space-between;gap:12px;padding:1px 4px}.stack td::before{content:attr(data-label);color:var(--soft)}
svg text{font-size:14px}svg .tick,svg .name,svg .small,svg .value{font-size:13px}
.about dl{grid-template-columns:1fr}.about dd{margin-bottom:6px}}
@media print{body{background:#fff}figure,.findings li{break-inside:avoid}}
"""  # noqa: E501 – CSS, one rule a line


def render_page(report: Mapping[str, Any]) -> str:
    """Return the page of a report, the dictionary that `report.build_report` makes."""
    order = list(report["policies"])
    store = report["store"]
    title = f"What {store['name']} trains on" if store.get("name") else "What a store trains on"
    told = "".join(
        f'<li><p class="what">{_escape(f.what)}</p><p class="why">{_escape(f.why)}</p></li>' for f in findings(report)
    )
    legend = "".join(f"<li>{analysis_plots.swatch(i)}{_escape(name)}</li>" for i, name in enumerate(order))
    legend += f"<li>{analysis_plots.swatch(None)}test (what users ask for)</li>"
    sections = "".join(
        f'<section><h2>{_escape(heading)}</h2><div class="grid">{"".join(figures)}</div></section>'
        for heading, figures in _sections(report, order)
        if any(figures)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{_escape(title)} – GenPAS</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="soft">GenPAS · distribution report</p>
<h1>{_escape(title)}</h1>
<p class="lead">{store["sequences"]:,} users, {store["items"]:,} items, {store["interactions"]:,} interactions.
Each policy below draws its training pairs from the same sequences; what it draws how often is computed here, without
training.</p>
<ul class="legend" aria-label="Policies and how they are drawn">{legend}</ul>
</header>
<section><h2>What differs, and why it matters</h2><ul class="findings">{told}</ul></section>
{sections}
<section><h2>All numbers</h2><div class="numbers">{_table(report, order)}</div></section>
<section><h2>What was measured</h2><div class="about">{_about(report)}</div></section>
</main>
</body>
</html>
"""


def _sections(report: Mapping[str, Any], order: Sequence[str]) -> list[tuple[str, list[str]]]:
    curves, kl = report["target_curves"], {kind: report["kl"][kind] for kind in ("test", "validation")}
    named = ["test", *order]
    groups = report["popularity_groups"]
    lengths = {name: report["history_length"][name]["histogram"][1:] for name in order}
    positions = {
        key: {name: report["target_position"][name][key] for name in order} for key in ("from_end", "from_start")
    }
    agreement = (
        analysis_plots.agreement_matrix(order, report["rank_agreement"], report["rank_difference"])
        if len(order) > 1
        else ""
    )
    return [
        (
            "Which items are trained on",
            [
                _figure(
                    "Do training targets follow the requests?",
                    "Items stand from most to least asked for in the test; the nearer a line is to the thick one, "
                    "the better.",
                    analysis_plots.cumulative_curves(
                        curves["rank"], {name: curves[name]["cumulative"] for name in named}
                    ),
                ),
                _figure(
                    "How often is one item trained on?",
                    "The same order on logarithmic scales; the thick line ends where the test's requests end.",
                    analysis_plots.mean_curves(curves["rank"], {name: curves[name]["mean"] for name in named}),
                ),
                _figure(
                    "Distance from the requests (KL)",
                    "KL divergence of the training targets from test targets (full) and validation targets (pale), "
                    "lowest "
                    "first; shorter is better.",
                    analysis_plots.bars("kl", "KL divergence by policy", kl, order),
                ),
                _figure(
                    "Popular and rare items",
                    "Thirds of the items by popularity in training, G1 the most popular, and what each draws of the "
                    "targets.",
                    analysis_plots.stacked_shares(
                        "popularity",
                        "Popularity groups",
                        {name: groups[name] for name in named if name in groups},
                        order,
                    ),
                ),
            ],
        ),
        (
            "How much the policies differ",
            [
                _figure(
                    "Do they rank the items alike?",
                    "Share of item pairs that two policies put in the same order (1 is identical), and below it how "
                    "many "
                    "places an item's rank differs on average.",
                    agreement,
                ),
                _figure(
                    "Do histories tell targets apart?",
                    "Similarity of test histories with training histories of the same target (up) and of others "
                    "(right); "
                    "steeper is better, ratios in brackets.",
                    analysis_plots.ratio_scatter(report["alignment_discrimination"], order),
                ),
            ],
        ),
        (
            "What a training pair looks like",
            [
                _figure(
                    "Length of the history",
                    "How many items a model sees before it must name the target.",
                    analysis_plots.histogram(
                        "history-length", "History lengths", "items in the history", lengths, first=1
                    ),
                ),
                _figure(
                    "Target counted from the end",
                    "0 is the user's last training item: targets further right are older.",
                    analysis_plots.histogram(
                        "position-end",
                        "Target positions from the end",
                        "training items after it",
                        positions["from_end"],
                    ),
                ),
                _figure(
                    "Target counted from the start",
                    "How many of the user's items stand before the target, whether or not the history keeps them all.",
                    analysis_plots.histogram(
                        "position-start",
                        "Target positions from the start",
                        "items of the user before it",
                        {name: values[1:] for name, values in positions["from_start"].items()},
                        first=1,
                    ),
                ),
                _figure(
                    "Whose pairs they are",
                    "Share of the training pairs that the most heavily drawn 10 % (full) and 1 % (pale) of the users "
                    "fill.",
                    analysis_plots.bars(
                        "users",
                        "Share of the most heavily drawn users",
                        {
                            "(top 10 %)": {name: report["user_mass"][name]["heaviest_10_percent"] for name in order},
                            "(top 1 %)": {name: report["user_mass"][name]["heaviest_1_percent"] for name in order},
                        },
                        order,
                        percent,
                    ),
                ),
            ],
        ),
    ]


def _figure(heading: str, caption: str, drawn: str) -> str:
    if not drawn:
        return ""
    return f"<figure><h3>{_escape(heading)}</h3><figcaption>{_escape(caption)}</figcaption>{drawn}</figure>"


def _table(report: Mapping[str, Any], order: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{_escape(name)}</th>' for name in order)
    body = ""
    for part, rows in _rows(report):
        body += f'<tr class="part"><th colspan="{len(order) + 1}" scope="rowgroup">{_escape(part)}</th></tr>'
        for name, write, value in rows:
            cells = "".join(
                f'<td data-label="{_escape(policy)}">{_escape(_written(value(policy), write))}</td>' for policy in order
            )
            body += f'<tr><th scope="row">{_escape(name)}</th>{cells}</tr>'
    table = f'<table class="stack"><thead><tr><th>Measure</th>{head}</tr></thead><tbody>{body}</tbody></table>'
    if not report["rank_agreement"]:
        return table
    pairs = "".join(
        f'<tr><th scope="row">{_escape(key.replace("|", " and "))}</th><td data-label="agreement">{value:.4f}</td>'
        f'<td data-label="mean rank difference">{report["rank_difference"][key]:,.1f}</td></tr>'
        for key, value in report["rank_agreement"].items()
    )
    return (
        f'{table}<table class="stack"><thead><tr><th>Two policies</th><th scope="col">ranking agreement</th>'
        f'<th scope="col">mean rank difference</th></tr></thead><tbody>{pairs}</tbody></table>'
    )


Row = tuple[str, Callable[[float], str], Callable[[str], Any]]


def _rows(report: Mapping[str, Any]) -> list[tuple[str, list[Row]]]:
    """Return the table's parts and rows: a name, how to write a value, and the value of a policy."""

    def at(*path: str) -> Callable[[str], Any]:
        def value(policy: str) -> Any:
            found = report[path[0]]
            for key in (*path[1:-1], policy, path[-1]) if len(path) > 1 else (policy,):
                found = found[key]
            return found

        return value

    def kl(key: str, kind: str) -> Callable[[str], Any]:
        return lambda policy: report[key][kind][policy]

    three, four, one, whole = "{:.3f}".format, "{:.4g}".format, "{:,.1f}".format, "{:,.0f}".format
    aligned: list[Row] = []
    for kind, key in (("test", "alignment_discrimination"), ("validation", "alignment_discrimination_validation")):
        aligned += [
            (f"alignment, {kind}", four, at(key, "alignment")),
            (f"discrimination, {kind}", four, at(key, "discrimination")),
            (f"ratio, {kind}", "{:.2f}".format, at(key, "ratio")),
            (f"pairs whose target is covered, {kind}", percent, at(key, "covered")),
        ]
    groups = next(iter(report["popularity_groups"].values()))
    return [
        (
            "Exponents",
            [(name, "{:g}".format, at("policies", name)) for name in ("alpha", "beta", "gamma")],
        ),
        (
            "KL divergence in nats",
            [
                ("test from training", three, kl("kl", "test")),
                ("validation from training", three, kl("kl", "validation")),
                ("training from test", three, kl("kl_reverse", "test")),
                ("training from validation", three, kl("kl_reverse", "validation")),
            ],
        ),
        (
            "Targets",
            [
                ("items trained on as a target", whole, at("input_target", "targets")),
                ("test items that are training targets", percent, at("coverage", "items")),
                ("test requests for those", percent, at("coverage", "requests")),
                ("training on items the test never asks for", percent, at("coverage", "never_asked")),
                *((f"share of popularity group {g}", percent, at("popularity_groups", g)) for g in groups),
            ],
        ),
        ("Alignment and discrimination", aligned),
        (
            "Histories",
            [
                ("mean history length", "{:.2f}".format, at("history_length", "mean")),
                ("different histories of a target, mean", one, at("input_target", "distinct_inputs_mean")),
                ("different histories of a target, median", one, at("input_target", "distinct_inputs_median")),
                ("entropy of the targets, nats", three, at("input_target", "entropy_target")),
                ("entropy of the histories given the target", three, at("input_target", "entropy_input_given_target")),
            ],
        ),
        (
            "Users",
            [
                ("worth so many equally weighted users", whole, at("user_mass", "effective_users")),
                ("share of the most heavily drawn 1 %", percent, at("user_mass", "heaviest_1_percent")),
                ("share of the most heavily drawn 10 %", percent, at("user_mass", "heaviest_10_percent")),
            ],
        ),
    ]


def _about(report: Mapping[str, Any]) -> str:
    made = report["made"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    names = {
        "training_sequences": "users with a training pair",
        "training_targets": "training targets (positions)",
        "longest_training_sequence": "longest training sequence",
    }
    rows = [
        (names.get(key, key.replace("_", " ")), f"{value:,}" if isinstance(value, int) else str(value))
        for key, value in report["store"].items()
    ]
    rows += [
        ("split", "leave-last-out: a user's last item tests, the one before validates, the rest trains"),
        ("smoothing of KL", f"{report['smoothing']:g} added to every probability"),
        ("similarity", str(report["similarity"])),
        ("made", f"{made['date']} by {versions}"),
        ("all figures", "report.json beside this page, histograms included"),
    ]
    return "<dl>" + "".join(f"<dt>{_escape(k)}</dt><dd>{_escape(v)}</dd>" for k, v in rows) + "</dl>"


def _written(value: Any, write: Callable[[float], str]) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return write(value)


def _escape(text: str) -> str:
    return html.escape(text)
