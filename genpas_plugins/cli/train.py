"""`genpas train`: RecBole underneath, with the same options."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from genpas_plugins.support.console import JSON, print_json, print_lines
from genpas_plugins.support.errors import InputError

_SETTING = re.compile(r"(?:--)?([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_HOW = "write a setting of RecBole's as --key=value, key=value or --set key=value"


def command(
    context: typer.Context,
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="RecBole's name of the model, as in SASRec.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name of the data set, as for RecBole.")],
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", metavar="FILE", help="YAML file; repeatable, the last one wins."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of RecBole's, the value in YAML; repeatable."),
    ] = None,
    nproc: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    world_size: Annotated[
        int, typer.Option("--world-size", "--world_size", help="Number of processes on all machines. Default: nproc.")
    ] = -1,
    ip: Annotated[str, typer.Option(help="Address of the main process.")] = "localhost",
    port: Annotated[str, typer.Option(help="Port of the main process.")] = "5678",
    group_offset: Annotated[
        int, typer.Option("--group-offset", "--group_offset", help="Rank of this machine's first process.")
    ] = 0,
    as_json: JSON = False,
) -> None:
    """Train and evaluate one of RecBole's models; a genpas key in a FILE switches GenPAS on.

    Settings of RecBole's follow as --learning_rate=0.01 or learning_rate=0.01; they win over the files.
    """
    overrides = CommandLine(parse_settings([*(settings or ()), *context.args]))
    files = config or []
    for file in files:
        check_yaml(file)
    with own_arguments_hidden(), stdout_to_stderr() if as_json else nullcontext():
        run = recbole_run(model)
        check_settings(model, dataset, files, overrides)
        try:
            result = run(
                model=model,
                dataset=dataset,
                config_file_list=[str(file) for file in files],
                config_dict=CommandLine({key: sealed(value) for key, value in overrides.items()}),
                nproc=nproc,
                world_size=world_size,
                ip=ip,
                port=port,
                group_offset=group_offset,
            )
        except Exception as error:
            # An error in a process that RecBole started arrives as text, its traceback with it.
            if nproc > 1 and (told := re.search(r"errors\.InputError: (.+)", str(error))):
                raise InputError(told[1]) from error
            if _is_from_making(error):
                raise InputError(_refusal(error, model, files, overrides)) from error
            if isinstance(error, ValueError | NotImplementedError) and _is_about_settings(error):
                hint = (
                    " Add train_neg_sample_args: ~ to the configuration."
                    if "train_neg_sample_args" in str(error)
                    else ""
                )
                raise InputError(f"RecBole refuses these settings: {error}{hint}") from error
            raise
    result = dict(result or {})
    if as_json:
        print_json(result)
        return
    for part in ("best_valid_result", "test_result", "trained_on"):
        if isinstance(result.get(part), Mapping):
            typer.echo(part.replace("_", " "))
            print_lines((f"  {name}", value) for name, value in result[part].items())


def check_yaml(file: Path) -> None:
    """Raise InputError if a configuration file does not exist or is not YAML, naming the line."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; check the path after --config.")
    if importlib.util.find_spec("yaml") is None:
        return  # RecBole is not installed either, and that is said next
    import yaml

    try:
        yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{file}{line}: this is not YAML: {error.problem}.") from error


class CommandLine(dict[str, Any]):
    """Settings from a command line, for RecBole's `config_dict`: messages about them name `place`.

    made : settings beside them that nobody has written; given ones win
    """

    place = "the command line"

    def __init__(self, given: Mapping[str, Any], made: Mapping[str, Any] | None = None) -> None:
        super().__init__({**(made or {}), **given})
        self.written = frozenset(given)


def check_settings(model: str, dataset: str, files: Sequence[Path], command_line: Collection[str]) -> None:
    """Raise InputError for a key that nothing would read; RecBole takes any, and says nothing."""
    importlib.import_module("recbole_ext.known_settings").check_settings(model, dataset, files, command_line)


def _is_about_settings(error: BaseException) -> bool:
    """Tell whether RecBole's configuration or its data code raised the error: these are the user's to mend."""
    frames = traceback.extract_tb(error.__traceback__)
    place = Path(frames[-1].filename).parts[:-1] if frames else ()
    return "recbole" in place and ("config" in place or "data" in place)


def _is_from_making(error: BaseException) -> bool:
    """Tell whether the making of a model raised the error, in its own code or torch's."""
    frames = traceback.extract_tb(error.__traceback__)
    models = [("recbole", "model"), ("recbole_ext", "models")]
    made = any(
        frame.name == "__init__" and any(set(names) <= set(Path(frame.filename).parts[:-1]) for names in models)
        for frame in frames
    )
    return made and isinstance(error, importlib.import_module("recbole_ext.trial").REFUSALS)


def _refusal(error: BaseException, model: str, files: Sequence[Path], overrides: Mapping[str, Any]) -> str:
    import yaml

    given: dict[str, Any] = {}
    for file in files:
        given |= yaml.safe_load(file.read_text(encoding="utf-8"))
    told: str = importlib.import_module("recbole_ext.trial").refusal(error, model, {**given, **overrides})
    return told


def parse_settings(arguments: Sequence[str], program: str = "genpas train", how: str = _HOW) -> dict[str, Any]:
    """Turn `key=value` and `--key=value` into a dictionary, values read as YAML.

    Python's None is null and a number may be written 1e-3, as on RecBole's own command line; text that is not YAML, as
    the interval [5,inf), stays text. Raises InputError for an argument of another form, a key given twice with
    different values, and for model and dataset, which have options of their own.

    >>> parse_settings(["--learning_rate=1e-3", "metrics=[Recall, NDCG]", "--train_neg_sample_args=None"])
    {'learning_rate': 0.001, 'metrics': ['Recall', 'NDCG'], 'train_neg_sample_args': None}
    """
    parsed: dict[str, Any] = {}
    for argument in arguments:
        match = _SETTING.fullmatch(argument)
        if match is None:
            raise InputError(f"{argument!r} is no option of `{program}`; {how}.")
        key, value = match[1], read_scalar(match[2])
        if key in ("model", "dataset"):
            raise InputError(f"{argument!r}: write --{key} {match[2]}.")
        if key in parsed and parsed[key] != value:
            raise InputError(f"{key} is given as {parsed[key]!r} and as {value!r}; keep one of the two.")
        parsed[key] = value
    return parsed


def read_scalar(text: str) -> Any:
    """Return the value that `text` stands for in YAML, the text itself where it is not YAML. Nothing is evaluated."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no annotations
        """Safe YAML with the numbers and the null that RecBole's command line knows."""

    # YAML 1.1 reads 1e-3 as text, and wants a dot before inf.
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*[eE][-+]?\d+|inf)$"), list("-+0123456789i")
    )
    Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("None$"), ["N"])
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError:
        return text


def sealed(value: Any) -> Any:
    """Return a value that RecBole takes over unchanged: it evaluates text as Python, and quoted text gives itself."""
    return repr(value) if isinstance(value, str) else value


def recbole_run(model: str) -> Any:
    """Import RecBole with GenPAS in it and return its `run`. Raises InputError without RecBole or such a model."""
    if importlib.util.find_spec("recbole") is None:
        raise InputError(
            "RecBole is not installed: pip install 'genpas-plugins[recbole]', then "
            "pip install --no-deps recbole==1.2.1 (its own requirements rule out current Python and numpy)."
        )
    # By name: the core depends on no framework, and this one command drives one where it is installed.
    importlib.import_module("recbole_ext")
    quick_start = importlib.import_module("recbole.quick_start.quick_start")
    importlib.import_module("recbole_ext.known_settings").check_model(model)
    return quick_start.run


@contextmanager
def own_arguments_hidden() -> Iterator[None]:
    """Empty sys.argv: RecBole reads every --key=value in it as a setting, also in the processes it starts."""
    saved = sys.argv
    sys.argv = saved[:1]
    try:
        yield
    finally:
        sys.argv = saved


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed meanwhile to stderr, by processes started meanwhile too: stdout is for the JSON object."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 1)
        os.close(saved)
