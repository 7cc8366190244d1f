"""`genpas export`: a trained model as files that other programs read."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, Overwrite, check_choice
from genpas_plugins.support.console import hide_arguments, print_json, print_lines, progress_bar, stdout_to_stderr
from genpas_plugins.support.errors import InputError, require_recbole

_NEEDED = ("onnx", "onnxscript", "faiss", "safetensors")


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="MODEL", help="The .pth file that training left.")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder to make.")],
    index: Annotated[
        str, typer.Option(help="Index of the item vectors: flat, hnsw, ivf, or auto, by the number of items.")
    ] = "auto",
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Write a model for other programs: ONNX, faiss, parquet.

    The folder holds ONNX and torch.export graphs, vectors, an index, safetensors and a model card. It has the layout
    of the Hugging Face Hub. Its top_items.py recommends without this library and torch.
    """
    check_choice("--index", index, ("auto", "flat", "hnsw", "ivf"))
    require_recbole()
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"Export needs {', '.join(missing)}: pip install 'genpas-plugins[export]'.")
    from recbole_ext.export.export_model import export_model

    with hide_arguments(), stdout_to_stderr() if as_json else nullcontext(), progress_bar() as tell:
        kind = None if index == "auto" else index
        facts = export_model(checkpoint, out, index=kind, overwrite=overwrite, progress=tell)
    if as_json:
        print_json({"out": str(out), **facts})
        return
    print_lines([("folder", out), *((name.replace("_", " "), value) for name, value in facts.items())])
