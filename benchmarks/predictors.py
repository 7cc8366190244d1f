"""What predicts which policy trains the best model: rank correlation of predictors with committed trainings.

    python -m benchmarks.predictors --data-dir DIR [--stores beauty-7core]

A training is the best validation of a policy in the cells below benchmarks/results, with the first seed. Cells of
independent draws, which older versions made, are left out. A run writes benchmarks/results/predictors.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.session import COMMITTED, DataDir
from genpas_plugins import SamplingPolicy, SequenceStore
from genpas_plugins.analysis.paired_bootstrap import paired_bootstrap
from genpas_plugins.experiments.report import table_lines
from genpas_plugins.experiments.results import CellResult, read_cell
from genpas_plugins.experiments.stores import find_stores
from genpas_plugins.search.by_transitions import MULTI_TARGET
from genpas_plugins.search.criteria import Criteria
from genpas_plugins.search.shortlist import KEEP, Candidate
from genpas_plugins.search.transition_model import OF_PAIRS, TransitionModel
from genpas_plugins.settings.genpas import GenPASConfig
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.environment import describe
from genpas_plugins.support.json_text import to_json

TABLES = {"beauty": ("sasrec", "estimators"), "toys": ("sasrec", "estimators"), "sports": ("sasrec",)}
"""Tables whose cells have one model and one budget, by data set; the map has the others."""

RESAMPLES = 2_000
OTHER = "transition model, power of the other data set"
PREDICTORS = {
    "transition model": "what `genpas search` ranks by: NDCG@10 of its closed-form model times the effective number of "
    f"pairs, exp of their entropy, to the power {OF_PAIRS}",
    OTHER: "the same with the power, of 0, .005 … .06, that is best on the other data set of the map",
    "NDCG@10 alone": "of the closed-form model, power 0",
    "KL": "lowest KL from the validation targets",
    "published": f"`--by published`: the {KEEP:.0%} with the lowest KL by alignment / discrimination, the rest by KL",
    "KL and different pairs": "logarithm of the effective number of pairs, minus KL",
    "short training, 10%": "the best validation in the first tenth of the budget, or the first one",
    "short training, 20%": "the same in the first fifth",
    "successive halving": "after 1, 2, 4 … validations the better half trains on: the rounds that a policy has, and "
    "its best validation there",
}
POWERS = [step / 200 for step in range(13)]
SHORT = {"short training, 10%": 0.1, "short training, 20%": 0.2}


def main(
    data_dir: DataDir = None,
    stores: Annotated[list[Path] | None, typer.Option(help="Stores of further data sets of the map.")] = None,
) -> None:
    """Compute every predictor for every policy that was trained, and its rank correlation."""
    names = [*TABLES, *(store.name for store in stores or ())]
    result: dict[str, Any] = {"environment": describe(), "datasets": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            trained = trained_policies(name)
            if len(trained) < 3:
                continue
            (store,) = find_stores([name], stores or (), data_dir, Path(folder), lambda *_: None).values()
            figures = predicted(store, {label: policy for label, (policy, *_) in trained.items()})
            halves = halved({label: cell for label, (_, cell, _) in trained.items()})
            for label, (_, cell, budget) in trained.items():
                figures[label] |= {name: early(cell, share * budget) for name, share in SHORT.items()}
                figures[label] |= {"successive halving": halves[label], "validation": cell.run.validation}
            result["datasets"][name] = {"policies": figures}
    compare(result["datasets"])
    out = COMMITTED / "predictors"
    write_text(out / "table.json", to_json(result))
    write_text(out / "table.md", page(result))
    draw(result["datasets"], out / "predictors")


def compare(datasets: Mapping[str, Any]) -> None:
    """Add to every data set the power of the other one, τ of every predictor and the policies surely better."""
    for name, content in datasets.items():
        rows = content["policies"].values()
        content["power"] = next(
            (best_power(part["policies"].values()) for key, part in datasets.items() if is_other(key, name)),
            math.nan,
        )
        for row in rows:
            row[OTHER] = at_power(row, content["power"])
        content["tau"] = {key: tau([(row[key], row["validation"]) for row in rows]) for key in PREDICTORS}
        content["surely_better"] = [
            label for label, row in content["policies"].items() if row["low"] > 0 and label != MULTI_TARGET.label
        ]


def trained_policies(name: str) -> dict[str, tuple[SamplingPolicy, CellResult, int]]:
    """Return policy, best cell and largest budget in pairs of every trained row of a data set, by label."""
    found: dict[str, tuple[SamplingPolicy, CellResult, int]] = {}
    for table in TABLES.get(name) or sorted(folder.name for folder in COMMITTED.glob("map*")):
        for file in sorted((COMMITTED / table / "cells" / name).glob("*.json")):
            configuration, cell = read_cell(file)
            genpas = GenPASConfig.from_mapping(configuration["method"]["genpas"])
            if configuration["seed"] != 1 or (genpas.strategy == "sampled" and cell.run.trained_on.get("draws") != 2):
                continue
            label = genpas.policy.label
            if label not in found or found[label][1].run.validation < cell.run.validation:
                budget = configuration["epochs"] * configuration["pairs_per_epoch"]
                found[label] = genpas.policy, cell, budget
    return found


def predicted(store: Path, policies: Mapping[str, SamplingPolicy]) -> dict[str, dict[str, float]]:
    """Return what every training-free predictor makes of every policy; more is better."""
    split = SequenceStore.open(store).leave_last_out()
    criteria, model = Criteria.of(split.train, split.validation), TransitionModel.of(split.train, split.validation)
    rows = {label: Candidate.of(criteria, policy) for label, policy in policies.items()}
    cut = sorted(row.kl for row in rows.values())[math.ceil(KEEP * len(rows)) - 1]
    reference = model.ndcg(MULTI_TARGET) * math.exp(OF_PAIRS * model.entropy(MULTI_TARGET))
    figures = {}
    for label, policy in policies.items():
        kl, ratio = rows[label].kl, rows[label].ratio
        ndcg, entropy = model.ndcg(policy), model.entropy(policy)
        predicted = ndcg * math.exp(OF_PAIRS * entropy)
        figures[label] = {
            "transition model": float(predicted.mean()),
            "NDCG@10 alone": float(ndcg.mean()),
            "KL": -kl,
            "published": ratio if kl <= cut else -kl,
            "KL and different pairs": entropy - kl,
            "entropy": entropy,
            "low": paired_bootstrap((predicted - reference)[1::2]).low,
        }
    return figures


def is_other(key: str, name: str) -> bool:
    """Whether a data set is of the map, and made of other data than `name`."""
    return key not in TABLES and key.partition("-")[0] != name.partition("-")[0]


def at_power(row: Mapping[str, float], power: float) -> float:
    """Return the prediction of a policy under a power of the effective number of pairs."""
    return row["NDCG@10 alone"] * math.exp(power * row["entropy"])


def best_power(rows: Iterable[Mapping[str, float]]) -> float:
    """Return the power with the highest τ."""
    return max(POWERS, key=lambda power: kendall([(at_power(row, power), row["validation"]) for row in rows]))


def early(cell: CellResult, pairs: float) -> float:
    """Return the best validation within so many pairs, or the first one."""
    return max((at.validation for at in cell.run.curve if at.pairs <= pairs), default=cell.run.curve[0].validation)


def halved(cells: Mapping[str, CellResult]) -> dict[str, float]:
    """Return the rounds of successive halving that each policy reaches, plus its best validation there, below 1."""
    curves = {label: [at.validation for at in cell.run.curve] for label, cell in cells.items()}
    figures: dict[str, float] = {}
    left, rounds = list(curves), 0
    while left:
        figures |= {label: rounds + max(curves[label][: 2**rounds]) for label in left}
        left.sort(key=lambda label: -figures[label])
        left, rounds = left[: len(left) // 2], rounds + 1
    return figures


def kendall(pairs: Any) -> float:
    """Return Kendall's τ of the two columns."""
    from scipy.stats import kendalltau

    return float(kendalltau(*np.asarray(pairs).T).statistic)


def tau(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return Kendall's τ of predictor and training with the 95 % interval of a bootstrap over the policies."""
    given = np.array(pairs)
    random = np.random.default_rng(0)
    if np.isnan(given).any():
        return {"tau": math.nan, "low": math.nan, "high": math.nan, "n": len(given)}
    drawn = [kendall(given[random.integers(0, len(given), len(given))]) for _ in range(RESAMPLES)]
    low, high = np.quantile(np.nan_to_num(drawn), [0.025, 0.975])  # a draw of one policy alone has no order
    return {"tau": kendall(given), "low": float(low), "high": float(high), "n": len(given)}


def page(result: Mapping[str, Any]) -> str:
    """Return the Markdown file."""
    environment, names = result["environment"], list(result["datasets"])
    taus = {name: result["datasets"][name]["tau"] for name in names}
    head = ["predictor", *(f"{name}, {next(iter(taus[name].values()))['n']} policies" for name in names)]
    rows = [
        [key, *("" if math.isnan(t["tau"]) else interval(t) for t in (taus[name][key] for name in names))]
        for key in PREDICTORS
    ]
    parts = [
        "<!-- Written by `python -m benchmarks.predictors`; do not edit. -->",
        "# What predicts which policy trains the best SASRec",
        f"Commit `{environment.get('commit')}`, {environment.get('date')}. Kendall's τ with the best validation "
        "NDCG@10 of each trained policy, and its 95 % interval by bootstrap over the policies.",
        "\n".join(table_lines([head, *rows])),
        "\n".join(f"- {key}: {text}" for key, text in PREDICTORS.items()),
        *(surely_better(name, result["datasets"][name]) for name in names),
        "![transition model against training](predictors.svg)",
    ]
    for name in names:
        figures = result["datasets"][name]["policies"]
        lines = [["policy", "validation", *PREDICTORS]]
        for label, row in sorted(figures.items(), key=lambda item: -item[1]["validation"]):
            lines.append([label, *(f"{row[key]:.4f}" for key in ("validation", *PREDICTORS))])
        parts += [f"## {name}", "\n".join(table_lines(lines))]
    return "\n\n".join(parts) + "\n"


def interval(found: Mapping[str, float]) -> str:
    """Write a τ with its interval."""
    return f"{found['tau']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def surely_better(name: str, content: Mapping[str, Any]) -> str:
    """Return a sentence: how many of the policies that are surely better by the search train better."""
    rows, sure = content["policies"], content["surely_better"]
    above = sum(rows[label]["validation"] > rows[MULTI_TARGET.label]["validation"] for label in sure)
    listed = f" ({'; '.join(sure)})" if sure else ""
    return (
        f"{name}: of {len(sure)} policies{listed} that the search has surely above multi_target, {above} train better. "
        f"The power of the other data set is {content['power']}."
    )


def draw(datasets: Mapping[str, Any], stem: Path) -> None:
    """Draw training against the transition model, a panel a data set, every point with its policy."""
    from matplotlib.figure import Figure

    from genpas_plugins.experiments.plots import COLOURS, save

    figure = Figure(figsize=(4.4 * len(datasets), 4.2), layout="constrained")
    axes = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axis, (name, content) in zip(axes, datasets.items(), strict=True):
        rows, found = content["policies"], content["tau"]["transition model"]
        axis.scatter(
            [r["transition model"] for r in rows.values()],
            [r["validation"] for r in rows.values()],
            color=COLOURS[0],
            s=22,
        )
        for label, row in rows.items():
            axis.annotate(
                label, (row["transition model"], row["validation"]), (4, 2), textcoords="offset points", fontsize=7
            )
        axis.set_title(f"{name}: τ = {interval(found)}", loc="left", fontsize="medium")
        axis.set_xlabel("prediction of the transition model (no training)")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("validation NDCG@10, SASRec (trained)")
    save(figure, stem)


if __name__ == "__main__":
    typer.run(main)
