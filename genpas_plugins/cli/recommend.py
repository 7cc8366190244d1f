"""`genpas recommend`: a file of a trained model's best items for its users."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, Overwrite
from genpas_plugins.support.console import hide_arguments, print_json, print_lines, progress_bar, stdout_to_stderr
from genpas_plugins.support.errors import InputError, require_recbole


def command(
    *,
    checkpoint: Annotated[Path, typer.Option("--checkpoint", metavar="FILE", help="The .pth file that training left.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write: .parquet, .jsonl or .csv.")],
    users: Annotated[
        Path | None, typer.Option("--users", metavar="FILE", help="Text file with one user id a line. Default: all.")
    ] = None,
    user: Annotated[list[str] | None, typer.Option("--user", metavar="ID", help="One user's id; repeatable.")] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="The K-th of N slices of the users. Default under torchrun: one a rank."),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Items a user, at most all of the catalogue.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Users ranked at a time.")] = 256,
    exclude_history: Annotated[
        bool, typer.Option("--exclude-history", help="Leave out what the user has had already.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: a GPU if there is one.")] = None,
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Write every user's best items, ranked by a trained model.

    The columns are user_id, item_id, rank (from 1) and score. The whole history is read, the test item included. Works
    with every sequential model of RecBole that ranks all items. TIGER's score is the item's log-probability.
    """
    wanted = None if users is None and not user else [*(user or ()), *(read_users(users) if users else ())]
    require_recbole()
    from recbole_ext.recommend import recommend
    from recbole_ext.recommend_ranks import launched, recommend_on_ranks

    alone = part is not None or not launched()
    run = partial(recommend, part=read_part(part or "1/1")) if alone else recommend_on_ranks
    with hide_arguments(), stdout_to_stderr() if as_json else nullcontext(), progress_bar() as tell:
        written = run(
            checkpoint,
            out,
            users=wanted,
            top_k=top_k,
            batch_size=batch_size,
            exclude_history=exclude_history,
            device=device,
            overwrite=overwrite,
            progress=lambda done, total: tell("ranking for users", done, total),
        )
    if not alone and os.environ["RANK"] != "0":
        return
    if as_json:
        print_json({"out": str(out), "top_k": top_k, "exclude_history": exclude_history, **written._asdict()})
        return
    print_lines(
        [
            ("file", out),
            ("users", written.users),
            ("without a history, left out", written.skipped),
            ("recommendations", written.rows),
        ]
    )


def read_part(text: str) -> tuple[int, int]:
    """Return (2, 8) for "2/8". Raises InputError for another text."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, total = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= total:
        raise InputError(f"--part {text}: write K/N for the K-th of N slices of the users, as 1/8 … 8/8.")
    return number, total


def read_users(file: Path) -> list[str]:
    """Return the ids of a text file (one a line) without blank lines. Raises InputError if it has none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not text in UTF-8; write one user id a line.") from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise InputError(f"{file} names no user; write one user id a line, or omit --users for all users.")
    return ids
