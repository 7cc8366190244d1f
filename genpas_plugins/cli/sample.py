"""`genpas sample`: pairs of the stream as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genpas_plugins.cli.options import JSON, Overwrite, SplitWord, StorePath, check_not_the_store
from genpas_plugins.sampling.constructions import CONSTRUCTIONS
from genpas_plugins.support.console import print_json, print_lines, progress_bar
from genpas_plugins.support.errors import InputError

_EXPONENT = "with strategy sampled; any number, inf or -inf"


def command(
    store: StorePath,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write: .parquet, .jsonl or .csv.")],
    strategy: Annotated[
        str | None,
        typer.Option(
            help=f"sampled, or one of {', '.join(sorted(CONSTRUCTIONS))}. Default, with exponents: sampled.",
            show_default=False,
        ),
    ] = None,
    alpha: Annotated[str | None, typer.Option(help=f"Exponent of the sequence's length, {_EXPONENT}.")] = None,
    beta: Annotated[str | None, typer.Option(help=f"Exponent of the target's position, {_EXPONENT}.")] = None,
    gamma: Annotated[str | None, typer.Option(help=f"Exponent of the start's position, {_EXPONENT}.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the stream.")] = 0,
    epoch: Annotated[int, typer.Option(min=0, help="Epoch, from 0.")] = 0,
    first: Annotated[int, typer.Option(min=0, help="First pair of the epoch to write, from 0.")] = 0,
    count: Annotated[
        int | None, typer.Option(min=1, help="How many pairs to write. Default: 1000, or what the epoch has left.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Keep only the last items of longer histories; start stays as drawn.")
    ] = None,
    pairs_per_epoch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Length of an epoch. Default: all pairs of the strategy; if sampled, as many as multi_target."
        ),
    ] = None,
    split: SplitWord = "leave_last_out",
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Write the training pairs of a strategy to a file.

    The columns are pair, user, start, target_position, history and target. Positions count from 0. Pairs come from the
    training part of the split. Pair i of an epoch depends only on the seed, the epoch and i. So files with other
    --first and --count are slices of one stream.
    """
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.data.temporal import read_split
    from genpas_plugins.sampling.pairs_table import write_pairs
    from genpas_plugins.sampling.stream import pair_stream
    from genpas_plugins.settings.genpas import GenPASConfig
    from genpas_plugins.settings.points import read_number

    check_not_the_store(out, store)
    exponents = {"alpha": alpha, "beta": beta, "gamma": gamma}
    if strategy is None and not any(exponents.values()):
        raise InputError(
            "The strategy is missing; add --strategy, such as multi_target, or --alpha, --beta and --gamma."
        )
    given: dict[str, Any] = {
        "strategy": strategy or "sampled",
        **{name: None if text is None else read_number(text) for name, text in exponents.items()},
        "pairs_per_epoch": pairs_per_epoch,
    }
    section = {key: value for key, value in given.items() if value is not None}
    config = GenPASConfig.from_mapping(section, "command line")
    train = read_split(SequenceStore.open(store), split).train
    stream = pair_stream(train, config.policy, seed=seed, pairs_per_epoch=config.pairs_per_epoch)
    if count is None:
        count = min(1000, max(1, stream.pairs_per_epoch - first))
    with progress_bar() as tell:
        write_pairs(
            stream,
            out,
            epoch=epoch,
            first=first,
            count=count,
            max_length=max_length,
            overwrite=overwrite,
            progress=lambda done: tell("writing pairs", done, count),
        )
    written: dict[str, Any] = {
        "out": str(out),
        "pairs": count,
        "first": first,
        "epoch": epoch,
        "seed": seed,
        "strategy": config.strategy,
        "exponents": {"alpha": config.policy.alpha, "beta": config.policy.beta, "gamma": config.policy.gamma},
        "pairs_per_epoch": stream.pairs_per_epoch,
        "max_length": max_length,
    }
    if as_json:
        print_json(written)
        return
    print_lines(
        [
            ("file", out),
            ("pairs", f"{first:,} to {first + count - 1:,} of the {stream.pairs_per_epoch:,} of epoch {epoch}"),
            ("policy", config.policy),
            ("seed", seed),
        ]
    )
