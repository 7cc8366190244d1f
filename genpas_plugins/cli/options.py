r"""The options of every command: one rule for all, and the options that several commands share.

**The rule.** An option for several values takes them with commas, or is repeated: `--seeds 1,2` and
`--seeds 1 --seeds 2` are the same. Three numbers in a row are one point: `--point 1,0,0,2,1,0` are two points.
Write `\,` for a comma inside a value. `--set` alone is not split, as its value is YAML. Give every other option once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from genpas_plugins.support.console import split_list
from genpas_plugins.support.errors import InputError, nearest

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Directory that `genpas prepare` made.")]
SplitWord = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="WORD",
        help="leave_last_out, or temporal:TRAIN,VALIDATION,TEST: cuts at shares of the interactions, by the column "
        "timestamp. Add :first for the first target of a user instead of the last.",
    ),
]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", metavar="FILE,…", help="RecBole's settings as YAML; later files win."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One of RecBole's settings, the value in YAML; repeatable."),
]

_UNSPLIT = "--set"


class Command(TyperCommand):
    """A command whose options follow the rule of this module."""

    def make_parser(self, ctx: Any) -> Any:
        """Return the parser of the command. It splits lists and refuses a repeated scalar."""
        parser: Any = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            values, rest, given = parse([_expanded(arg) for arg in args])
            for option in self.params:
                name = option.opts[0]
                if not getattr(option, "multiple", False):
                    if given.count(option) > 1:
                        raise InputError(f"{name} is given {given.count(option)} times. Keep one of them.")
                elif option.name in values and _UNSPLIT not in option.opts:
                    values[option.name] = [word for text in values[option.name] for word in split_list(text, name)]
            return values, rest, given

        parser.parse_args = parse_args
        return parser


def _expanded(arg: str) -> str:
    """Replace `~/` by the home folder also after `--out=` where a shell leaves it."""
    option, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
    return option + equals + (str(Path(value).expanduser()) if value.startswith("~/") else value)


def comma_list(text: str) -> tuple[str, ...]:
    """Return the parts of an option's text between commas without blanks around them. Empty text has none."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def check_choice(option: str, value: str, choices: Iterable[str]) -> None:
    """Raise InputError with the nearest choice if an option has none of its values."""
    if value not in (known := list(choices)):
        raise InputError(f"{option} {value!r} is not a choice.{nearest(value, known)}")


def check_not_the_store(out: Path, store: Path) -> None:
    """Raise InputError if the output of a command would be in the store that it reads."""
    if store.resolve() in (out.resolve(), *out.resolve().parents):
        where = "the store itself" if out.resolve() == store.resolve() else "in the store"
        raise InputError(f"--out {out} is {where}; choose another place.")
