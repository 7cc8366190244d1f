"""The spread over random orders of ties: figures of the closed-form model on the same data, ties in ten orders.

genpas prepare DIR/beauty/interactions.parquet --order position --column timestamp --out beauty
python -m benchmarks.tie_orders --stores beauty,sports
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.session import COMMITTED
from genpas_plugins import SamplingPolicy, SequenceStore
from genpas_plugins.data.temporal import COLUMN, checked_times
from genpas_plugins.data.ties import tie_keys
from genpas_plugins.experiments.report import table_lines
from genpas_plugins.experiments.rows import Spread
from genpas_plugins.search.transition_model import TransitionModel
from genpas_plugins.settings.points import read_point
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.console import split_list
from genpas_plugins.support.environment import describe
from genpas_plugins.support.json_text import to_json

ORDERS = 10
POLICIES = ("1,0,-inf", "1,0,0", "0.5,0.5,-inf", "0.5,0.5,2", "0,inf,-inf")


def main(stores: Annotated[str, typer.Option(help="Stores with a column timestamp.")]) -> None:
    """Measure every store in the order of the file and in ORDERS random ones."""
    policies = [read_point(word) for word in POLICIES]
    result = {
        path.name: spread(SequenceStore.open(path), policies) for path in map(Path, split_list(stores, "--stores"))
    }
    lines = [
        ["data set", "tied last items", "same test item", "policy", "order of the file", "ten random orders", "rank"]
    ]
    for name, content in result.items():
        for label, row in content["policies"].items():
            of_orders = Spread.of(row["random"])
            lines.append(
                [
                    name,
                    f"{content['tied_last']:.1%}",
                    f"{content['same_test_item']:.1%}",
                    label,
                    f"{row['file']:.4f}",
                    f"{of_orders.mean:.4f} ± {of_orders.sd:.4f}",
                    ", ".join(map(str, sorted(set(row["ranks"])))),
                ]
            )
    environment = describe()
    text = [
        "<!-- Written by `python -m benchmarks.tie_orders`; do not edit. -->",
        "# The order of ties",
        f"Commit `{environment.get('commit')}`, {environment.get('date')}. Validation NDCG@10 of the transition model, "
        "leave-last-out, history masked, of at most 5,000 users; mean ± standard deviation over the orders. Same test "
        "item: share of users whose last item is the file's, mean over the orders. Rank: place among the policies.",
        "\n".join(table_lines(lines)),
    ]
    write_text(COMMITTED / "tie_orders.md", "\n\n".join(text) + "\n")
    write_text(COMMITTED / "tie_orders.json", to_json({"environment": environment, **result}))


def spread(store: SequenceStore, policies: list[SamplingPolicy]) -> dict[str, object]:
    """Return the figures of one store by policy, in the order of the file and in random ones."""
    orders = [store, *(shuffle_ties(store, seed) for seed in range(ORDERS))]
    ends = store.offsets[1:][store.lengths() > 0] - 1
    figures = []
    for ordered in orders:
        views = ordered.leave_last_out()
        model = TransitionModel.of(views.train, views.validation)
        figures.append([float(model.ndcg(policy).mean()) for policy in policies])
    table = np.array(figures)
    ranks = (-table).argsort(1).argsort(1) + 1
    same = [np.mean(ordered.values[ends] == store.values[ends]) for ordered in orders[1:]]
    rows = {
        policy.label: {"file": table[0, k], "random": table[1:, k].tolist(), "ranks": ranks[1:, k].tolist()}
        for k, policy in enumerate(policies)
    }
    return {"tied_last": tied_last(store), "same_test_item": float(np.mean(same)), "policies": rows}


def shuffle_ties(store: SequenceStore, seed: int, *, column: str = COLUMN) -> SequenceStore:
    """Return the store, in memory, with the interactions of a sequence at equal times in a random order.

    The file that `genpas export-recbole` writes of the store has this order under `genpas: {ties: random:SEED}`.

    Raises InputError as `temporal_split` does for times that are missing or in no order.
    """
    times = checked_times(store, column)
    owner = np.repeat(np.arange(store.n_sequences), store.lengths())
    order = np.lexsort((tie_keys(np.arange(len(times)), seed), times, owner))
    columns = {name: np.asarray(values)[order] for name, values in store.columns.items()}
    values = np.asarray(store.values)[order]
    return replace(store, values=values, columns=columns, path=None)


def tied_last(store: SequenceStore, *, column: str = COLUMN) -> float:
    """Return the share of the sequences of two items or more whose last two interactions are at the same time."""
    times, ends = checked_times(store, column), store.offsets[1:][store.lengths() > 1]
    return float(np.mean(times[ends - 1] == times[ends - 2])) if len(ends) else 0.0


if __name__ == "__main__":
    typer.run(main)
