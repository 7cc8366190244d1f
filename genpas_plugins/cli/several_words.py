"""Options that take all words that follow: --strategies last_target multi_target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from genpas_plugins.sampling.policy import EXPONENTS

OPTIONS = ("--strategies", "--point", "--methods")


class SeveralWords(TyperCommand):
    """A command whose OPTIONS take all words that follow."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its words, as the parser wants it, then parse."""
        return super().parse_args(ctx, repeat_options(args))


def repeat_options(arguments: Sequence[str]) -> list[str]:
    """Write --option a b as --option a --option b, for OPTIONS.

    A directory after the words of the option is left alone: it is the store.

    >>> repeat_options(["--strategies", "last_target", "multi_target", "--point", "-1,0,0", "--json"])
    ['--strategies', 'last_target', '--strategies', 'multi_target', '--point', '-1,0,0', '--json']
    """
    repeated: list[str] = []
    option, first = "", False
    for place, word in enumerate(arguments):
        if word == "--":
            return [*repeated, *arguments[place:]]
        name = word.partition("=")[0]
        if name in OPTIONS:
            option, first = name, word == name
            repeated.append(word)
        elif first:
            first = False
            repeated.append(word)
        elif _is_option(word) or (option and word not in EXPONENTS and Path(word).is_dir()):
            option = ""
            repeated.append(word)
        else:
            repeated += [option, word] if option else [word]
    return repeated


def _is_option(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit() and not word.lower().startswith(("-inf", "-."))
