"""What a field of settings takes and means in words: for errors, comments in YAML and help."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_COMMENT = 34  # the column of a comment's text
_BOUNDS = (("gt", "above"), ("ge", "from"), ("lt", "below"), ("le", "at most"))


def key_help(model: type[BaseModel]) -> list[tuple[str, str]]:
    """Return each key of settings with its meaning and what it takes."""
    return [
        (name, f"{field.description} ({valid_values(field.annotation, field.metadata)})")
        for name, field in model.model_fields.items()
    ]


def commented_yaml(section: str, settings: BaseModel) -> str:
    """Return a section as YAML with the meaning of each key beside it.

    Examples
    --------
    >>> from genpas_plugins.settings.mixing import MixingConfig
    >>> print(commented_yaml("mixing", MixingConfig(method="basrec")).splitlines()[3])
      beta: 0.4                     # λ ~ Beta(beta, beta)
    """
    lines = [f"{section}:"]
    for name, field in type(settings).model_fields.items():
        kind = type_parts(field.annotation)[0]
        choices = get_args(kind) if get_origin(kind) is Literal and len(get_args(kind)) > 1 else ()
        comment = "; ".join(part for part in (" | ".join(choices), field.description) if part)
        value = json.dumps(getattr(settings, name)).strip('"')
        first, *others = textwrap.wrap(comment, 120 - _COMMENT)
        lines.append(f"  {f'{name}: {value}':<{_COMMENT - 4}}# {first}")
        lines += [f"{'':<{_COMMENT - 2}}# {other}" for other in others]
    return "\n".join(lines) + "\n"


def valid_values(annotation: Any, metadata: Collection[Any] = ()) -> str:
    """Return what a field takes in words.

    >>> from annotated_types import Ge
    >>> valid_values(int | None, [Ge(1)])
    'a whole number from 1 on, or null'
    >>> valid_values(Literal["gather", "sampled"])
    'gather or sampled'
    """
    kind, own, optional = type_parts(annotation)
    if get_origin(kind) is Literal:
        *names, last = map(str, get_args(kind))
        text = f"{', '.join(names)} or {last}" if names else last
    elif get_origin(kind) in (tuple, list):
        text = "a list"
    elif get_origin(kind) in (dict, Mapping) or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        text = "keys and values"
    else:
        text = _KINDS.get(kind, "a value") + _bounds([*metadata, *own], kind)
    return f"{text}, or null" if optional else text


def type_parts(annotation: Any) -> tuple[Any, list[Any], bool]:
    """Split an annotation into the type, its metadata and whether null is allowed."""
    metadata: list[Any] = []
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata += more
        elif get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
            (annotation, *_) = [part for part in get_args(annotation) if part is not NoneType]
            optional = True
        else:
            return annotation, metadata, optional


def _bounds(metadata: list[Any], kind: Any) -> str:
    found = [(word, getattr(part, name)) for part in metadata for name, word in _BOUNDS if hasattr(part, name)]
    limits = {word: limit for word, limit in found if limit is not None}
    if kind is int and "from" in limits:
        end = f"to {limits['at most']}" if "at most" in limits else "on"
        return f" from {limits['from']} {end}"
    if set(limits) == {"from", "at most"}:
        return f" from {limits['from']} to {limits['at most']}"
    return "".join(f"{' and' if place else ''} {word} {limit}" for place, (word, limit) in enumerate(limits.items()))
