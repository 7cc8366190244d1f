"""`genpas export-recbole`: a store as the file that RecBole reads."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from genpas_plugins.cli.options import JSON, Overwrite, StorePath, check_not_the_store
from genpas_plugins.support.console import print_json, progress_bar

_PLAIN_PATH = re.compile(r"/[\w./-]*")  # A path that YAML reads as text without quotes


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
    """Write a store as DIR/NAME/NAME.inter, which RecBole reads.

    RecBole rounds its time field to float32, so timestamp holds the position in the user's sequence. The store's own
    timestamp becomes the field time; other numeric columns keep their names. A store of `genpas regenerate` makes two
    files: NAME.inter has the original sequences, NAME.added.inter the added ones. RecBole trains on added sequences
    only with a genpas key.
    """
    from genpas_plugins.data.recbole_files import TIME, export_recbole
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
    # Without load_col RecBole loads user and item alone, not the time.
    settings: dict[str, Any] = {
        "data_path": str(out.resolve()),
        "dataset": name,
        "load_col": {"inter": ["user_id", "item_id", TIME]},
    }
    train = shlex.join(_train_command(settings))
    if as_json:
        print_json(
            {
                "file": str(written.file),
                "added": None if written.added is None else str(written.added),
                "fields": written.fields,
                "left_out": written.left_out,
                "interactions": written.interactions,
                "config": settings,
                "train": train,
            }
        )
        return
    typer.echo(f"{written.file}: {written.interactions:,} interactions, fields {', '.join(written.fields)}.")
    if written.added is not None:
        typer.echo(f"{written.added}: the sequences that were added to train on, read where there is a genpas key.")
    if written.left_out:
        typer.echo(f"Left out, as RecBole has no type for them: {', '.join(written.left_out)}.")
    typer.echo(f"\nTrain on it:\n\n{train}\n\nOr in RecBole's configuration:\n")
    for key, value in settings.items():
        typer.echo(f"{key}: {_yaml(value)}")


def _train_command(settings: Mapping[str, Any]) -> list[str]:
    inter = ", ".join(settings["load_col"]["inter"])
    path = settings["data_path"]
    return [
        *("genpas", "train", "--model", "SASRec", "--dataset", settings["dataset"]),
        f"--data_path={path if _PLAIN_PATH.fullmatch(path) else json.dumps(path, ensure_ascii=False)}",
        f"--load_col={{inter: [{inter}]}}",
        "--train_neg_sample_args=None",  # SASRec's cross-entropy needs no negatives
        "--genpas_strategy=multi_target",
    ]


def _yaml(value: object) -> str:
    """Return a value as one line of YAML: a plain word, or JSON, which is YAML too."""
    if isinstance(value, str) and value.replace("/", "").replace("_", "").replace("-", "").isalpha():
        return value
    return json.dumps(value, ensure_ascii=False)
