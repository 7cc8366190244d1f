"""`genpas inspect`: what a store holds."""

from __future__ import annotations

from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, StorePath
from genpas_plugins.support.console import print_json, print_lines, progress_bar


def command(
    store: StorePath,
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte and compare checksums.")] = False,
    as_json: JSON = False,
) -> None:
    """Print counts, lengths and columns of a store."""
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.data.storage import verify_store
    from genpas_plugins.data.store_summary import summarize_store
    from genpas_plugins.sampling.constructions import pair_counts

    pairs = pair_counts(SequenceStore.open(store).leave_last_out().train)
    summary = {**summarize_store(store), "training_pairs": pairs}
    if verify:
        with progress_bar() as tell:
            verify_store(store, lambda done, total: tell("reading bytes", done, total))
    if as_json:
        print_json({**summary, "verified": verify})
        return
    lengths = summary["lengths"]
    columns = [
        f"{name} ({column['dtype']}{''.join(f' x {size}' for size in column['shape'])})"
        for name, column in summary["columns"].items()
    ]
    rows: list[tuple[str, object]] = [(name, summary[name]) for name in ("users", "items", "interactions")]
    if lengths is not None:
        shown = f"min {lengths['min']}, median {lengths['median']:g}, mean {lengths['mean']:.2f}, max {lengths['max']}"
        rows.append(("lengths", shown))
    rows.append(("users with a training pair", summary["users_with_training_pair"]))
    rows += [(f"training pairs, {strategy}", count) for strategy, count in pairs.items()]
    rows += [
        ("user ids", summary["user_id_type"]),
        ("item ids", summary["item_id_type"]),
        ("columns", ", ".join(columns) or "-"),
        ("bytes on disk", summary["bytes"]),
        ("format version", summary["format_version"]),
    ]
    rows += [(f"step {number}", _step(step)) for number, step in enumerate(summary["history"], start=1)]
    if verify:
        rows.append(("checksums", "as written"))
    print_lines(rows)


def _step(step: dict[str, object]) -> str:
    source = f" of {step['source']}" if "source" in step else ""
    counts = ", ".join(f"{step.get(name, '?')} {name}" for name in ("users", "items", "interactions"))
    return f"{step.get('step', '?')}{source}: {counts}"
