"""`genpas regenerate`: a store → its patterns → a regenerator → a store with regenerated sequences (DR4SR)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genpas_plugins.cli.options import JSON, Overwrite, StorePath, check_choice, check_not_the_store
from genpas_plugins.support.checksums import array_crc32
from genpas_plugins.support.console import Tell, print_json, print_lines, print_table, progress_bar
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.neural.dr4sr.inference import Regenerated
    from genpas_plugins.neural.dr4sr.mining import Patterns

STAGES = ("mine", "train", "infer")
VECTORS = ("cooccurrence", "random")


def command(
    store: StorePath,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="STORE2", help="Store to make.")],
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the stages' files, which a second run starts from. Default: STORE2.work."
        ),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help=f"Stop after this stage: {', '.join(STAGES)}. Default: go on to STORE2.")
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the regenerator, over which its temperature falls.")
    ] = 40,
    gamma: Annotated[
        float, typer.Option(help="Probability that any item may be written, not only the sequence's own.")
    ] = 0.1,
    memories: Annotated[int, typer.Option(min=1, help="Patterns written for each sequence.")] = 5,
    balance: Annotated[
        float, typer.Option(min=0, help="Weight of the loss term that keeps all memories in use; 0: the paper's loss.")
    ] = 1.0,
    dimension: Annotated[int, typer.Option(min=1, help="Dimension of the regenerator.")] = 64,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences in one step.")] = 256,
    max_history: Annotated[int, typer.Option(min=2, help="Items read of a sequence, the last ones.")] = 50,
    min_frequency: Annotated[int, typer.Option(min=1, help="Sequences that must share a pattern.")] = 2,
    vectors: Annotated[str, typer.Option(help=f"First item vectors: {' or '.join(VECTORS)}.")] = VECTORS[0],
    embeddings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="First item vectors from a file, for example a trained SASRec's."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every stage.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Add sequences regenerated from shared patterns (DR4SR).

    Stage mine finds the patterns that sequences share. Stage train fits a regenerator, which writes the patterns of a
    sequence. Stage infer writes new sequences. The same command continues where an earlier one stopped. A file of the
    work folder with other settings is an error. Held-out items are never read. In STORE2 the added sequences only
    train; validation and test are taken from the original sequences (KDD 2024).
    """
    if stage is not None:
        check_choice("--stage", stage, STAGES)
    check_choice("--vectors", vectors, VECTORS)
    if not 0 <= gamma <= 1:
        raise InputError(f"--gamma must be a probability from 0 to 1, not {gamma}.")
    check_not_the_store(out, store)
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.data.storage import STORE

    STORE.check_target(out, overwrite=overwrite)
    opened = SequenceStore.open(store)
    opened.leave_last_out().train.require_content()
    if opened.has_train_only:
        raise InputError(f"{store} is a regenerated store already. Start from the original one.")
    folder = work if work is not None else out.with_name(f"{out.name}.work")
    with progress_bar() as tell:
        report, parts = _run(
            opened,
            folder,
            stage,
            tell,
            shape={"dimension": dimension, "memories": memories, "max_history": max_history},
            recipe={"epochs": epochs, "batch_size": batch_size, "balance_weight": balance, "seed": seed},
            min_frequency=min_frequency,
            gamma=gamma,
            vectors=vectors,
            embeddings=embeddings,
            device=device,
        )
    report["work"] = str(folder)
    if parts is not None:
        from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store

        made = regenerated_store(opened, *parts)
        made.save(out, overwrite=overwrite)
        report |= {"store": str(out), "origin": _origin_counts(made)}
    if as_json:
        print_json(report)
    else:
        _print(report)


def _run(
    store: SequenceStore,
    folder: Path,
    stage: str | None,
    tell: Tell,
    *,
    shape: dict[str, Any],
    recipe: dict[str, Any],
    min_frequency: int,
    gamma: float,
    vectors: str,
    embeddings: Path | None,
    device: str,
) -> tuple[dict[str, Any], tuple[Patterns, Regenerated] | None]:
    try:
        from genpas_plugins.neural.dr4sr.inference import summarize
        from genpas_plugins.neural.dr4sr.regenerator import Shape
        from genpas_plugins.neural.dr4sr.stages import infer, mine, train
        from genpas_plugins.neural.dr4sr.training import Recipe
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise InputError("genpas regenerate needs torch, which is not installed: pip install torch.") from error
    view = store.leave_last_out().train
    seed = recipe["seed"]
    sizes, plan = Shape(store.n_items, **shape), Recipe(**recipe)
    name, start = _start(store, vectors, embeddings, sizes.dimension, seed)
    patterns = mine(view, folder, tell, min_frequency=min_frequency, seed=seed)
    report: dict[str, Any] = {
        "patterns": patterns.made.n,
        "patterns_by_length": patterns.made.by_length(),
        "training_pairs": len(patterns.made.sequence),
    }
    if stage == "mine":
        return report, None
    regenerator = train(
        view, patterns, folder, tell, shape=sizes, recipe=plan, vectors=name, item_vectors=start, device=device
    )
    report["regenerator"] = {"epochs": len(regenerator.made.curve), **regenerator.made.curve[-1]}
    if stage == "train":
        return report, None
    made = infer(view, regenerator, folder, tell, gamma=gamma, batch_size=plan.batch_size, seed=seed).made
    report["regenerated"] = summarize(made, view)
    return report, None if stage == "infer" else (patterns.made, made)


def _start(
    store: SequenceStore, vectors: str, embeddings: Path | None, dimension: int, seed: int
) -> tuple[str, Callable[[], Any] | None]:
    """Return the name of the first item vectors, and a function that returns them; None for random vectors."""
    if embeddings is not None:
        from genpas_plugins.semantic_ids.item_files import read_embeddings

        own = read_embeddings(embeddings, store)
        if own.shape[1] != dimension:
            raise InputError(f"{embeddings} has vectors of dimension {own.shape[1]}; add --dimension {own.shape[1]}.")
        return f"crc32 {array_crc32([own])}", lambda: own
    if vectors == "random":
        return vectors, None
    if store.n_items < dimension:
        raise InputError(
            f"Co-occurrence gives {store.n_items} items at most {store.n_items} dimensions; use --vectors random "
            "or a smaller --dimension."
        )

    def cooccurrence() -> Any:
        from genpas_plugins.semantic_ids.collaborative import cooccurrence_embeddings

        return cooccurrence_embeddings(store.leave_last_out().train, dimension, seed=seed)

    return vectors, cooccurrence


def _origin_counts(store: SequenceStore) -> dict[str, dict[str, int]]:
    from genpas_plugins.neural.dr4sr.regenerated_store import ORIGINS

    origin, length = store.kinds(), store.leave_last_out().train.lengths()
    return {
        name: {
            "sequences": int((origin == number).sum()),
            "training_items": int(length[origin == number].sum()),
            "training_pairs": int((length[origin == number] - 1).clip(min=0).sum()),
        }
        for number, name in enumerate(ORIGINS)
    }


def _print(report: dict[str, Any]) -> None:
    by_length = ", ".join(f"{count:,} of {length}" for length, count in report["patterns_by_length"].items())
    rows: list[tuple[str, object]] = [
        ("patterns", f"{report['patterns']:,} ({by_length} items)" if by_length else 0),
        ("(sequence, pattern) pairs", report["training_pairs"]),
    ]
    if "regenerator" in report:
        last = report["regenerator"]
        use = ", ".join(f"{share:.2f}" for share in last["use"])
        rows += [
            ("regenerator's epochs", last["epochs"]),
            ("cross-entropy, entropy", f"{last['cross_entropy']:.4f}, {last['entropy']:.4f}"),
            ("use of the memories", use),
        ]
    if "regenerated" in report:
        made = report["regenerated"]
        rows += [
            ("patterns written", made["patterns"]),
            ("in generative mode", made["generative"]),
            ("distinct within a sequence", made["distinct"]),
            ("items foreign to the sequence", f"{made['foreign']['generative']:.1%} of the generative mode's"),
        ]
    print_lines([*rows, ("work", report["work"])])
    if "origin" not in report:
        return
    print_table(
        ("origin", "sequences", "training items", "training pairs"),
        [[origin, *(f"{count:,}" for count in counts.values())] for origin, counts in report["origin"].items()],
        title=report["store"],
        caption="pairs: a target and all items before it",
    )
