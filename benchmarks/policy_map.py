"""The map: what `genpas search` predicts, and SASRec where it is trained, makes of policies. A picture and its data.

    genpas prepare DIR/beauty/interactions.parquet --order position --column timestamp --out beauty    # and others
    python -m benchmarks.policy_map --stores beauty,sports

Every figure is validation NDCG@10 as `genpas search` predicts it under the exact distribution, relative to
multi_target; the trainings are the cells of configs/experiment/map.yaml. A data set and split that has its file below
benchmarks/results/policy_map is not computed again. A store without a column timestamp has no temporal split.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.predictors import trained_policies
from benchmarks.session import COMMITTED
from genpas_plugins import SamplingPolicy, SequenceStore
from genpas_plugins.analysis.paired_bootstrap import paired_bootstrap
from genpas_plugins.data.temporal import COLUMN, LEAVE_LAST_OUT, TEMPORAL, evaluated_counts, read_split
from genpas_plugins.experiments.report import table_lines
from genpas_plugins.search.by_transitions import MULTI_TARGET
from genpas_plugins.search.transition_model import OF_PAIRS, TransitionModel
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.console import split_list
from genpas_plugins.support.environment import describe
from genpas_plugins.support.json_text import to_json

INF = math.inf
ALPHA, BETA, GAMMA = (0.0, 0.5, 1.0, 1.5, 2.0), (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, INF), (-INF, -1.0, 0.0, 1.0, 2.0, INF)
OUT = COMMITTED / "policy_map"
TRAINED = "SASRec"
"""What the title of a panel of trainings has in the place of the split."""


def grid() -> list[SamplingPolicy]:
    """Return the policies: all (α, β) with full histories, and all γ at (1, 0)."""
    points = [*itertools.product(ALPHA, BETA, [-INF]), *((1.0, 0.0, gamma) for gamma in GAMMA[1:])]
    return [SamplingPolicy(*point) for point in points]


def main(stores: Annotated[str, typer.Option(help="Stores, named as their data sets.")]) -> None:
    """Compute what is missing, and draw all that is there."""
    for path in map(Path, split_list(stores, "--stores")):
        store = SequenceStore.open(path)
        for split in (LEAVE_LAST_OUT, *([TEMPORAL] if COLUMN in store.columns else [])):
            file = OUT / f"{path.name}.{split}.json"
            if not file.exists():
                write_text(file, to_json(computed(store, split)))
    maps = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(OUT.glob("*.json"))}
    write_text(OUT / "table.md", page(maps))
    for folder in COMMITTED.glob("map*/cells/*"):
        maps[f"{folder.name}.{TRAINED}"] = trained(folder.name)
    draw(dict(sorted(maps.items())), OUT / "map")


def trained(name: str) -> dict[str, Any]:
    """Return the figures of the policies that SASRec was trained on: best validation NDCG@10, one seed."""
    found = {label: cell.run.validation for label, (_, cell, _) in trained_policies(name).items()}
    reference = found.pop(MULTI_TARGET.label)
    rows = {label: {"mean": figure - reference} for label, figure in found.items()}
    return {"multi_target": reference, "policies": {"1,0,-inf": {"mean": 0.0}, **rows}}


def computed(store: SequenceStore, split: str) -> dict[str, Any]:
    """Return the figures of every policy of the grid under a split."""
    views = read_split(store, split)
    model = TransitionModel.of(views.train, views.validation)
    reference, entropy = model.ndcg(MULTI_TARGET), model.entropy(MULTI_TARGET)
    rows = {}
    for policy in grid():
        figures = model.ndcg(policy) * math.exp(OF_PAIRS * (model.entropy(policy) - entropy))
        difference = paired_bootstrap(figures - reference)
        rows[policy.label] = {"ndcg@10": float(figures.mean()), **difference._asdict()}
    counts = evaluated_counts(views)["validation"]
    return {"multi_target": float(reference.mean()), "counts": counts, "policies": rows, "environment": describe()}


def relative(content: Mapping[str, Any], policy: SamplingPolicy) -> float:
    """Return the figure of a policy over multi_target's, in per cent; NaN for one without a figure."""
    return 100 * content["policies"].get(policy.label, {"mean": math.nan})["mean"] / content["multi_target"]


def page(maps: Mapping[str, Any]) -> str:
    """Return the Markdown file: the best points of every map, with their intervals."""
    head = [
        "data set and split",
        "users",
        "unseen",
        "multi_target",
        "best other point",
        "over multi_target",
        "points surely better",
    ]
    lines = [head]
    for name, content in maps.items():
        others = {label: row for label, row in content["policies"].items() if label != "1,0,-inf"}
        best = max(others, key=lambda label: others[label]["ndcg@10"])
        row, counts = others[best], content["counts"]
        better = sum(row["low"] > 0 for row in others.values())
        lines.append(
            [
                name,
                f"{counts['users']:,}",
                f"{counts['unseen_users']:,}",
                f"{content['multi_target']:.4f}",
                best,
                f"{row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]",
                f"{better} of {len(others)}",
            ]
        )
    environment = next(iter(maps.values()))["environment"]
    parts = [
        "<!-- Written by `python -m benchmarks.policy_map`; do not edit. -->",
        "# The map: policies as `genpas search` predicts them",
        f"Commit `{environment.get('commit')}`, {environment.get('date')}. Predicted validation NDCG@10, history "
        "masked, of at most 5,000 users. The interval is of one point. The best of 39 points is chosen on the same "
        "users, so its interval flatters it: `genpas search` chooses on one half and measures on the other.",
        "\n".join(table_lines(lines)),
        "![map](map.svg)",
    ]
    return "\n\n".join(parts) + "\n"


def draw(maps: Mapping[str, Any], stem: Path) -> None:
    """Draw a panel a map: α down, β across, and γ at (1, 0) in the last column, in per cent over multi_target."""
    from matplotlib.figure import Figure

    from genpas_plugins.experiments.plots import save

    columns = min(len(maps), 3)
    figure = Figure(figsize=(4.4 * columns, 3.2 * math.ceil(len(maps) / columns) + 0.5), layout="constrained")
    axes = figure.subplots(math.ceil(len(maps) / columns), columns, squeeze=False).ravel()
    for axis in axes[len(maps) :]:
        axis.remove()
    for axis, (name, content) in zip(axes, maps.items(), strict=False):
        values = np.array([[relative(content, SamplingPolicy(a, b, -INF)) for b in BETA] for a in ALPHA])
        starts = np.array([relative(content, SamplingPolicy(1, 0, gamma)) for gamma in GAMMA])
        shown = np.full((len(GAMMA), len(BETA) + 2), np.nan)
        shown[: len(ALPHA), : len(BETA)] = values
        shown[:, -1] = starts
        axis.imshow(shown, cmap="RdBu", vmin=-30, vmax=30, aspect="auto")
        for (row, column), value in np.ndenumerate(shown):
            if not np.isnan(value):
                text = "0" if abs(value) < 0.05 else f"{value:+.0f}" if abs(value) >= 9.95 else f"{value:+.1f}"
                axis.text(
                    column, row, text, ha="center", va="center", fontsize=7, color="white" if value < -22 else "black"
                )
        labels = ["∞" if b == INF else f"{b:g}" for b in BETA]
        axis.set_xticks([*range(len(BETA)), len(BETA) + 1], [*labels, "γ"], fontsize=7)
        axis.set_yticks(range(len(ALPHA)), [f"{a:g}" for a in ALPHA], fontsize=7)
        for row, gamma in enumerate(GAMMA):
            label = {INF: "∞", -INF: "−∞"}.get(gamma, f"{gamma:g}")
            axis.text(len(BETA) + 1.6, row, label, va="center", fontsize=7, clip_on=False)
        data, _, kind = name.partition(".")
        what = "SASRec, trained" if kind == TRAINED else f"predicted, {kind.replace('_', '-')}"
        title = f"{data}, {what}: multi_target {content['multi_target']:.4f}"
        axis.set_title(title, loc="left", fontsize="small", weight="bold" if kind == TRAINED else "normal")
        axis.set_xlabel("β, later targets →", fontsize=7)
        axis.set_ylabel("α, ← longer sequences", fontsize=7)
    title = "NDCG@10 over multi_target (α 1, β 0, γ −∞) in %, blue is better. "
    title += "Grid: full histories, γ −∞. Last column: γ at (1, 0), shorter histories ↓"
    figure.suptitle(title, x=0.01, ha="left")
    save(figure, stem)


if __name__ == "__main__":
    typer.run(main)
