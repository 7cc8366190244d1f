"""The generated pages of the reference: settings from their classes, commands from typer, patches, the API.

`make docs` writes them into docs/reference/generated; they are not committed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
import typer.cli
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import recbole_ext  # noqa: F401 – RecBole must be patched before it is read
from genpas_plugins.augment import OPERATORS
from genpas_plugins.cli import app
from genpas_plugins.data.readers import READERS
from genpas_plugins.experiments.table import Along, Table
from genpas_plugins.sampling.constructions import CONSTRUCTIONS
from genpas_plugins.search.grid import Grid
from genpas_plugins.settings.all_sections import SECTIONS
from genpas_plugins.settings.field_words import valid_values
from genpas_plugins.settings.loss import LossConfig
from recbole_ext.models.tiger_settings import TigerSettings
from recbole_ext.patches import PATCHES

API = {
    "Core": ["genpas_plugins"],
    "Analysis": ["genpas_plugins.analysis"],
    "Search": ["genpas_plugins.search"],
    "Augmentation": ["genpas_plugins.augment"],
    "Semantic IDs": [
        "genpas_plugins.semantic_ids.codebook",
        "genpas_plugins.semantic_ids.residual_kmeans",
        "genpas_plugins.semantic_ids.rq_vae",
        "genpas_plugins.semantic_ids.collaborative",
        "genpas_plugins.semantic_ids.embed",
    ],
    "TIGER": [
        "genpas_plugins.neural.tiger.network",
        "genpas_plugins.neural.tiger.prefix_tree",
        "genpas_plugins.neural.tiger.decoding",
    ],
    "RecBole": ["recbole_ext.training_run", "recbole_ext.checkpoints", "recbole_ext.models.contract"],
    "TorchRec": ["torchrec_ext", "torchrec_ext.shard", "torchrec_ext.tables", "torchrec_ext.evaluation"],
    "Streams and batches": [
        "genpas_plugins.sampling.protocol",
        "genpas_plugins.sampling.stream",
        "genpas_plugins.sampling.windows",
        "genpas_plugins.sampling.batch",
        "genpas_plugins.data.prepare.build",
    ],
}
"""Pages of the API, and their modules."""


def write(folder: Path) -> None:
    """Write every generated page whose text has changed."""
    folder.mkdir(exist_ok=True)
    pages = {"settings": settings(), "commands": commands(), "patches": patches(), "registries": registries()}
    described: set[Any] = set()
    for title, modules in API.items():
        pages[f"api-{title.lower().replace(' ', '-')}"] = api(title, modules, described)
    for name, lines in pages.items():
        file, text = folder / f"{name}.md", "\n".join(lines) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
    for file in folder.glob("*.md"):
        if file.stem not in pages:
            file.unlink()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(' '.join(str(cell).split()).replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def settings() -> Iterator[str]:
    """Yield every setting with what it takes, its default and its meaning."""
    yield from ("# Settings", "")
    yield "Generated from the classes that check them. Unknown keys are errors that name file, line and nearest key."
    yield ""
    for name, kind in SECTIONS.items():
        yield from (f"## The section `{name}:`", "", _summary(kind), "")
        yield f"On RecBole's command line and in its tuner a key is flat: `{name}_{next(iter(kind.model_fields))}`."
        yield from ("", *_fields(kind))
    for title, model in {
        "The key `loss:` of the section `genpas:`": LossConfig,
        "The file of `genpas experiment`": Table,
        "Its key `along:`": Along,
        "The grid of `genpas search`": Grid,
        "TIGER in RecBole": TigerSettings,
    }.items():
        yield from (f"## {title}", "", _summary(model), "", *_fields(model))


def _summary(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n", maxsplit=1)[0]


def _fields(kind: type[BaseModel]) -> Iterator[str]:
    yield from table(
        ("key", "takes", "default", "meaning"),
        (
            (
                f"`{name}`",
                valid_values(field.annotation, field.metadata),
                _default(field.default),
                field.description or "",
            )
            for name, field in kind.model_fields.items()
        ),
    )


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return f"`{json.dumps(value, default=str).replace('Infinity', '.inf')}`"


def commands() -> Iterator[str]:
    """Yield the help of every command, as typer writes it."""
    command = typer.main.get_command(app)
    text = typer.cli.get_docs_for_click(obj=command, ctx=typer.Context(command), name="genpas")
    yield from text.replace("# `genpas`\n", "# Command line\n", 1).replace("```console", "```text").split("\n")


def patches() -> Iterator[str]:
    """Yield the names of RecBole that are replaced."""
    yield from ("# What is replaced in RecBole", "")
    yield "`import recbole_ext` replaces these names and no others. A test compares a stock RecBole with a patched one."
    yield "Without a key of ours a replacement does what RecBole does; `safe_input` alone always lets no file run code."
    yield ""
    yield from table(
        ("name", "replacement", "for"),
        ((f"`{'`, `'.join(patch.places)}`", patch.why, f"`recbole_ext.{patch.feature}`") for patch in PATCHES),
    )


def registries() -> Iterator[str]:
    """Yield what is registered: readers, constructions, operators."""
    yield from ("# Formats, strategies, operators", "", "## Formats that `genpas prepare` reads", "")
    yield from table(
        ("format", "what", "suffixes"),
        ((f"`{reader.name}`", reader.what, " ".join(f"`{s}`" for s in reader.suffixes)) for reader in READERS.values()),
    )
    yield from ("## Strategies: published ways to make pairs", "")
    yield from table(
        ("strategy", "what it trains on", "exact or near exponents"),
        (
            (
                f"`{kind().label}`",
                _summary(kind),
                "" if kind.exponents is None else ", ".join(f"{x:g}" for x in kind.exponents),
            )
            for _, kind in sorted(CONSTRUCTIONS.items())
        ),
    )
    yield from ("## Operators of `augment:`", "")
    yield from table(
        ("operator", "what it does"), ((f"`{name}`", _summary(kind)) for name, kind in sorted(OPERATORS.items()))
    )


def api(title: str, modules: Sequence[str], described: set[Any]) -> Iterator[str]:
    """Yield the page of some modules: their public names, each on the first page that has it."""
    yield from (f"# {title}", "")
    for name in modules:
        module = importlib.import_module(name)
        yield from (f"## `{name}`", "", "```text", textwrap.dedent(inspect.getdoc(module) or ""), "```", "")
        for public in _public(module):
            thing = getattr(module, public)
            home = getattr(thing, "__module__", name)
            if not (inspect.isclass(thing) or inspect.isfunction(thing)) or thing in described:
                continue
            described.add(thing)
            if inspect.isclass(thing):
                yield from ("```{eval-rst}", f".. autoclass:: {home}.{thing.__qualname__}", "   :members:")
                yield "   :exclude-members: model_config, model_post_init, add_note, with_traceback"
                yield from ("   :inherited-members: object, BaseModel, NamedTuple, tuple, Module, Protocol", "```", "")
            else:
                yield from ("```{eval-rst}", f".. autofunction:: {home}.{thing.__name__}", "```", "")


def _public(module: Any) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = (name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__)
    return [name for name in own if not name.startswith("_")]
