"""The rule for options, on every option of every command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.support.console import split_list
from genpas_plugins.support.errors import nearest, shortened

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = [
    (command, option)
    for command, made in COMMANDS.items()
    for option in made.params
    if option.param_type_name == "option"
]
LISTS = [(command, option) for command, option in OPTIONS if option.multiple]
SCALARS = [(command, option) for command, option in OPTIONS if not option.multiple and option.name != "help"]


def names(pair: tuple[str, Any]) -> str:
    return f"{pair[0]} {pair[1].opts[0]}"


def parsed(command: str, *words: str) -> dict[str, Any]:
    made = COMMANDS[command]
    context = made.context_class(made, info_name=command)
    return dict(made.make_parser(context).parse_args(list(words))[0])


@pytest.mark.parametrize(("command", "option"), LISTS, ids=map(names, LISTS))
def test_a_list_is_written_with_commas_or_by_repeating(command: str, option: Any):
    name = option.opts[0]
    repeated = parsed(command, name, "a", name, "b c", name, r"d\,e")
    if name == "--set":
        assert parsed(command, name, "k=[a, b]")[option.name] == ["k=[a, b]"]
    else:
        assert repeated[option.name] == ["a", "b c", "d,e"]
        assert repeated == parsed(command, f"{name}=a, b c,d\\,e") == parsed(command, name, "a,b c", name, r"d\,e")


@pytest.mark.parametrize(("command", "option"), SCALARS, ids=map(names, SCALARS))
def test_an_option_with_one_value_is_refused_twice(command: str, option: Any):
    value = [] if option.is_flag else ["1"]
    words = [option.opts[0], *value, option.opts[-1], *value]
    result = CliRunner().invoke(app, [command, *words])
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr == f"error: {option.opts[0]} is given 2 times. Keep one of them.\n"


@pytest.mark.parametrize("text", ["", ",", "a,", "a,,b", " "])
def test_an_empty_value_is_refused(text: str):
    with pytest.raises(InputError, match="--seeds"):
        split_list(text, "--seeds")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_cuts_nothing_off_at_80_columns(command: str):
    result = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=80)
    lines = result.stdout.splitlines()[1:]
    assert result.exit_code == 0 and max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith(("...", "…"))]


def test_the_package_is_a_program():
    done = subprocess.run([sys.executable, "-m", "genpas_plugins", "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"genpas ")


def test_a_shell_can_complete():
    environment = {"_GENPAS_COMPLETE": "complete_bash", "COMP_WORDS": "genpas ana", "COMP_CWORD": "1"}
    result = CliRunner().invoke(app, [], prog_name="genpas", env=environment)
    assert result.stdout.split() == ["analyze"]


@pytest.mark.parametrize("form", [("--out", "~/made.csv"), ("--out=~/made.csv",)])
def test_the_home_folder_is_found_where_a_shell_leaves_it(form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    SequenceStore.from_arrays([1, 2, 3, 1], [0, 4]).save(tmp_path / "store")
    made = CliRunner().invoke(app, ["sample", "~/store", "--strategy", "multi_target", *form])
    assert made.exit_code == 0 and (tmp_path / "made.csv").is_file(), made.output


@pytest.mark.parametrize(
    "command",
    [
        ("sample", "--strategy", "multi_target", "--out", "STORE/pairs.csv"),
        ("search", "--out", "STORE"),
        ("search", "--out", "STORE/found"),
        ("export-recbole", "--out", "STORE"),
        ("analyze", "--out", "STORE/report"),
        ("regenerate", "--out", "STORE"),
        ("semantic-ids", "--collaborative", "--out", "STORE/ids"),
    ],
)
def test_no_command_writes_into_its_store(command, tmp_path: Path):
    store = tmp_path / "store"
    SequenceStore.from_arrays([1, 2, 3, 1, 2, 3], [0, 6]).save(store)
    before = sorted(store.iterdir())
    name, *rest = (word.replace("STORE", str(store)) for word in command)
    done = CliRunner().invoke(app, [name, str(store), *rest])
    assert done.exit_code == 2 and "choose another place" in done.output
    assert sorted(store.iterdir()) == before


def test_exponents_are_a_sampled_strategy_and_nothing_is_none(tmp_path: Path):
    SequenceStore.from_arrays([1, 2, 3, 1], [0, 4]).save(tmp_path / "store")
    sample = ("sample", str(tmp_path / "store"), "--out", str(tmp_path / "pairs.csv"))
    done = CliRunner().invoke(app, [*sample, "--alpha", "1", "--beta", "0", "--gamma", "0"])
    assert done.exit_code == 0, done.output
    assert "The strategy is missing; add --strategy" in CliRunner().invoke(app, sample).output


def test_long_values_and_lists_are_cut_in_messages():
    assert nearest("x", [f"column {number}" for number in range(5000)]).endswith("column 39 and 4,960 more.")
    assert shortened("x" * 10**6) == "x" * 200 + "…"
