"""The command `genpas`: one command a file. Each file calls the module that does the work.

Figures go to stdout. Progress and errors go to stderr. Bad input is one sentence and exit status 2.
"""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow as pa
import typer
from typer.core import TyperGroup

from genpas_plugins import __version__
from genpas_plugins.cli import (
    analyze,
    append,
    doctor,
    experiment,
    export,
    export_recbole,
    inspect_store,
    prepare,
    recommend,
    regenerate,
    sample,
    search,
    semantic_ids,
    train,
)
from genpas_plugins.cli.options import Command
from genpas_plugins.support.errors import InputError, is_full_disk

__all__ = ["app", "main"]

BAD_INPUT, INTERRUPTED = 2, 130


class SentenceErrors(TyperGroup):
    """A group of commands that report bad input in one sentence instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn errors that the user can fix into a sentence and an exit status."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            _say(str(error))
            raise typer.Exit(BAD_INPUT) from error
        except pa.ArrowIndexError as error:
            _say(f"the store's content does not fit its header ({error}); genpas inspect --verify finds the file.")
            raise typer.Exit(BAD_INPUT) from error
        except OSError as error:
            # The user can fix a path and a full disk; any other error keeps its traceback.
            if error.filename is None and not is_full_disk(error):
                raise
            _say(
                f"{error.filename or 'output'}: {error.strerror or error}; "
                "check the path, its permissions and the disk's space."
            )
            raise typer.Exit(BAD_INPUT) from error
        except KeyboardInterrupt as error:
            _say("interrupted; what is written is whole, and the same command goes on where it can")
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    cls=SentenceErrors,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # its traceback prints local variables, whole arrays among them
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _module in {
    "doctor": doctor,
    "prepare": prepare,
    "append": append,
    "inspect": inspect_store,
    "sample": sample,
    "analyze": analyze,
    "search": search,
    "experiment": experiment,
    "semantic-ids": semantic_ids,
    "regenerate": regenerate,
    "export-recbole": export_recbole,
    "train": train,
    "recommend": recommend,
    "export": export,
}.items():
    # Options that `train` does not know are RecBole's settings: --learning_rate=0.01
    _settings = {"allow_extra_args": True, "ignore_unknown_options": True} if _module is train else None
    app.command(_name, cls=Command, context_settings=_settings)(_module.command)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"genpas {__version__}")
        raise typer.Exit


@app.callback()
def genpas(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Choose and see the distribution that the training pairs of a sequential recommender come from."""


def main() -> None:
    """Run the command line and exit."""
    app(prog_name="genpas")


def _say(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
