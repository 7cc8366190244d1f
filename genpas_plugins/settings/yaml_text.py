"""The one YAML reader for every file and command line of this library: files, scalars, `key=value`."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genpas_plugins.support.errors import InputError

KeyPath = tuple[Any, ...]
"""Keys and list indices from the top of a file to a value, as ("genpas", "augment", 0, "rate")."""

_SETTING = re.compile(r"(?:--)?([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_HOW = "write a setting of RecBole's as --key=value, key=value or --set key=value"


class YamlFile(NamedTuple):
    """A file that was read."""

    file: Path
    content: Any  # its plain values: mappings, lists, text, numbers, booleans and None
    lines: dict[KeyPath, int]  # the line, from 1, of every key and list entry

    def where(self, paths: Collection[KeyPath] = ()) -> str:
        """Return the file's name with the first line of these keys. A missing key counts as its parent."""
        return name_places(paths, [(str(self.file), self.lines)], str(self.file))


def name_places(
    paths: Collection[KeyPath],
    places: Sequence[tuple[str, Mapping[KeyPath, int]]],
    otherwise: str = "the configuration",
) -> str:
    """Name the places that the values of these keys come from.

    Parameters
    ----------
    paths : the keys in question
    places : names of files and command lines with the line of every key, 0 for none. The last place that has a key
        wins.
    otherwise : what to return if no place has any of the keys

    Examples
    --------
    >>> name_places([("genpas", "alpha")], [("a.yaml", {("genpas",): 3, ("genpas", "alpha"): 4}), ("b.yaml", {})])
    'a.yaml, line 4'
    """
    first: dict[int, int] = {}
    for path in paths:
        for number, (_, lines) in reversed(list(enumerate(places))):
            known = next((path[:depth] for depth in range(len(path), 0, -1) if path[:depth] in lines), None)
            if known is not None:
                first[number] = min(lines[known], first.get(number, lines[known]))
                break
    lines_of = [(places[number][0], line) for number, line in sorted(first.items())]
    return " and ".join(f"{name}, line {line}" if line else name for name, line in lines_of) or otherwise


def read_yaml(file: Path, option: str = "") -> YamlFile:
    """Read a file of plain values.

    Parameters
    ----------
    file : the file
    option : the option that names the file in the message about a missing file

    Raises
    ------
    InputError
        If the file is missing or not YAML. If it has a key twice or a tag that would construct an object.
    """
    import yaml

    node = _composed(file, option)
    lines = _lines(node, str(file))
    try:
        content = None if node is None else loader()("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{file}{_line_of(error)}: a setting must be a plain value: {error.problem}.") from error
    return YamlFile(file, content, lines)


def key_lines(file: Path) -> dict[KeyPath, int]:
    """Return the line (from 1) of every key and list entry of a YAML file. No value is constructed."""
    return _lines(_composed(file), str(file))


def check_yaml(file: Path) -> None:
    """Raise InputError with the line if a configuration file does not exist or is not YAML."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; check the path after --config.")
    if importlib.util.find_spec("yaml") is not None:  # without PyYAML there is no RecBole, which is reported next
        key_lines(file)


def parse_settings(arguments: Sequence[str], program: str = "genpas train", how: str = _HOW) -> dict[str, Any]:
    """Turn `key=value` and `--key=value` into a dictionary with values read as YAML.

    Python's None is null. Text that is not YAML such as the interval `[5,inf)` stays text.

    Raises
    ------
    InputError
        For an argument of another form or a key with two values. For model and dataset because they have options.

    Examples
    --------
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
    """Return the value of a text in YAML or the text itself if it is not YAML. Nothing is evaluated.

    >>> [read_scalar(text) for text in ("1e-3", ".inf", "-inf", "[1, 2]", "word")]
    [0.001, inf, -inf, [1, 2], 'word']
    """
    import yaml

    try:
        return yaml.load(text, Loader=loader())
    except (yaml.YAMLError, RecursionError):
        return text


@functools.cache
def loader() -> Any:
    """Return the one loader: safe YAML with the numbers and the null that Python and RecBole know."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no annotations
        """Reads plain values; any other tag is an error."""

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            """Return a node's value; a number or date that Python refuses is an error with its line."""
            try:
                return super().construct_object(node, deep)
            except ValueError as error:
                raise yaml.constructor.ConstructorError(problem=str(error), problem_mark=node.start_mark) from error

    # YAML 1.1 reads 1e-3 as text, and wants a dot before inf.
    number = re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*[eE][-+]?\d+|\.\d[\d_]*[eE][-+]?\d+|inf|Inf|INF)$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789iI"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("None$"), ["N"])
    Loader.add_constructor("tag:yaml.org,2002:float", _float)
    return Loader


def _float(loader: Any, node: Any) -> float:
    text = node.value.lower().replace("_", "")
    return float(text) if text.lstrip("+-") == "inf" else float(loader.construct_yaml_float(node))


def _composed(file: Path, option: str = "") -> Any:
    import yaml

    if not file.is_file():
        raise InputError(f"{file} does not exist; check the path{option and f' after {option}'}.")
    try:
        return yaml.compose(file.read_text(encoding="utf-8"), Loader=loader())
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text, so not YAML: {error.reason}.") from error
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{file}{_line_of(error)}: this is not YAML: {error.problem}.") from error
    except RecursionError as error:
        raise InputError(f"{file}: its values are nested too deeply.") from error
    except yaml.YAMLError as error:  # characters that YAML does not allow
        raise InputError(f"{file}: this is not YAML: {' '.join(str(error).split())}.") from error


def _lines(root: Any, file: str) -> dict[KeyPath, int]:
    lines: dict[KeyPath, int] = {}
    seen = set()  # an alias repeats a node, perhaps inside the node itself

    def visit(node: Any, path: KeyPath) -> None:
        if id(node) in seen or isinstance(getattr(node, "value", ""), str):
            return
        seen.add(id(node))
        for place, entry in enumerate(node.value):
            key, value = entry if isinstance(entry, tuple) else (None, entry)
            below = (*path, place if key is None else str(key.value))
            line = (key or value).start_mark.line + 1
            if below in lines and key.value != "<<":
                raise InputError(f"{file}, line {line}: {key.value} is also in line {lines[below]}. Remove one.")
            lines[below] = line
            visit(value, below)

    visit(root, ())
    return lines


def _line_of(error: Any) -> str:
    return f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
