"""`genpas export-recbole`: a store as the file that RecBole reads."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, Overwrite, StorePath, check_not_the_store
from genpas_plugins.support.console import print_json, progress_bar


def command(
    store: StorePath,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Directory for RecBole's data sets: its data_path.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the data set. Default: the name of the store's directory.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Write a store as the files that RecBole reads.

    DIR/NAME/NAME.inter has the sequences and DIR/NAME/NAME.yaml the settings.

    RecBole rounds its time field to float32, so timestamp holds the position in the user's sequence. The store's own
    timestamp becomes the field time; other numeric columns keep their names. A store of `genpas regenerate` makes two
    files: NAME.inter has the original sequences, NAME.added.inter the added ones. RecBole trains on added sequences
    only with a genpas key.
    """
    from genpas_plugins.data.recbole_files import export_recbole
    from genpas_plugins.data.sequences import SequenceStore

    check_not_the_store(out, store)
    opened = SequenceStore.open(store)
    name = store.resolve().name if name is None else name
    with progress_bar() as tell:
        written = export_recbole(
            opened,
            out,
            name,
            overwrite=overwrite,
            progress=lambda done: tell("writing interactions", done, opened.n_interactions),
        )
    train = shlex.join(["genpas", "train", "--model", "SASRec", "--dataset", name, "--config", str(written.config)])
    if as_json:
        print_json(
            {
                "file": str(written.file),
                "added": None if written.added is None else str(written.added),
                "fields": written.fields,
                "left_out": written.left_out,
                "interactions": written.interactions,
                "config": str(written.config),
                "train": train,
            }
        )
        return
    typer.echo(f"{written.file}: {written.interactions:,} interactions, fields {', '.join(written.fields)}.")
    if written.added is not None:
        typer.echo(f"{written.added}: the sequences that were added to train on, read where there is a genpas key.")
    if written.left_out:
        typer.echo(f"Left out, as RecBole has no type for them: {', '.join(written.left_out)}.")
    typer.echo(f"{written.config}: RecBole's settings of the data set and a genpas section.\n\nTrain on it:\n\n{train}")
