"""pydantic's errors as the sentences of this library, and what a field takes in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from genpas_plugins.settings.yaml_text import KeyPath
from genpas_plugins.support.errors import nearest

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_BOUNDS = (("gt", "above"), ("ge", "from"), ("lt", "below"), ("le", "at most"))
_NOT_KEYS = ("model_type", "model_attributes_type", "dict_type", "mapping_type")


class Mistake(NamedTuple):
    """What is wrong: the keys that lead to the value, and a sentence."""

    path: KeyPath
    sentence: str


class Key(NamedTuple):
    """A key of settings, for help texts and comments.

    Parameters
    ----------
    name : str
        The key.
    default : object
        The value without the key; `PydanticUndefined` if the key must be there.
    valid : str
        What the key takes, as "a whole number from 1 on, or null".
    description : str
        What it means.
    """

    name: str
    default: Any
    valid: str
    description: str


def keys_of(model: type[BaseModel]) -> list[Key]:
    """Return the keys of settings in the order of their fields."""
    return [
        Key(name, field.default, valid_values(field.annotation, field.metadata), field.description or "")
        for name, field in model.model_fields.items()
    ]


def valid_values(annotation: Any, metadata: Collection[Any] = ()) -> str:
    """Return what a field takes in words.

    Examples
    --------
    >>> from annotated_types import Ge
    >>> valid_values(int | None, [Ge(1)])
    'a whole number from 1 on, or null'
    >>> valid_values(Literal["gather", "sampled"])
    'gather or sampled'
    """
    kind, own, optional = _parts(annotation)
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


def mistakes(model: type[BaseModel], error: ValidationError, name: str = "") -> list[Mistake]:
    """Return what is wrong, unknown keys first: an unknown key is often the missing one, misspelt.

    Parameters
    ----------
    model : type
        The settings that were to be made.
    error : ValidationError
        What pydantic found.
    name : str
        The settings' key in their file.
    """
    found = sorted(error.errors(include_url=False), key=lambda details: details["type"] != "extra_forbidden")
    return [_mistake(model, details, name) for details in found]


def _mistake(model: type[BaseModel], error: ErrorDetails, section: str) -> Mistake:
    kind, value = error["type"], error["input"]
    value = list(value) if isinstance(value, tuple) else value  # as it was written
    path, annotation, metadata, parent = _walk(model, error["loc"])
    before, name = _label((section, *path) if section else path)
    annotated, _, optional = _parts(annotation)
    if kind == "extra_forbidden":
        key = error["loc"][len(path)]
        text = f"{before}{name or model.__name__} has no key {key!r}.{nearest(key, parent.model_fields)}"
        return Mistake((*path, key), text)
    if kind == "missing":
        return Mistake(path[:-1], f"{before}{name} is missing; it must be {valid_values(annotation, metadata)}.")
    if kind == "value_error":
        of_keys_together = name and annotated is parent
        text = f"{before}{name}: " if of_keys_together else before
        return Mistake(path, f"{text}{error['ctx']['error']}")
    if kind in _NOT_KEYS:
        text = f"must hold keys such as {_example(parent)}"
    elif get_origin(annotated) is Literal:
        choices = [*map(str, get_args(annotated)), *(["null"] if optional else [])]
        return Mistake(path, f"{before}{name} is {value!r}.{nearest(value, choices)}")
    else:
        text = f"must be {valid_values(annotation, metadata)}"
    return Mistake(path, f"{before}{name or model.__name__} {text}, not {value!r}.")


def _walk(model: type[BaseModel], loc: KeyPath) -> tuple[KeyPath, Any, list[Any], type[BaseModel]]:
    """Follow an error's location through the fields; return path, annotation, metadata and the innermost model.

    pydantic adds the names of a union's members to a location. The path ends before them.
    """
    annotation: Any = model
    metadata: list[Any] = []
    path: KeyPath = ()
    for name in loc:
        kind, _, _ = _parts(annotation)
        origin = get_origin(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            model = kind
            if name not in model.model_fields:
                break
            field = model.model_fields[str(name)]
            annotation, metadata = field.annotation, list(field.metadata)
        elif origin in (tuple, list) and isinstance(name, int):
            annotation, metadata = get_args(kind)[0], []
        elif origin in (dict, Mapping):
            annotation, metadata = get_args(kind)[1], []
        else:
            break
        path = (*path, name)
    kind, _, _ = _parts(annotation)
    return path, annotation, metadata, kind if isinstance(kind, type) and issubclass(kind, BaseModel) else model


def _parts(annotation: Any) -> tuple[Any, list[Any], bool]:
    """Split an annotation into the type, its metadata, and whether null is allowed."""
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


def _label(path: KeyPath) -> tuple[str, str]:
    """Return what leads to a value, and the value's name."""
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts[-1] = f"value {key + 1} of {parts[-1]}"
        else:
            parts.append(str(key))
    return "".join(f"{part}: " for part in parts[:-1]), parts[-1] if parts else ""


def _example(model: type[BaseModel]) -> str:
    name, field = next(iter(model.model_fields.items()))
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else [field.default]
    return f"'{name}: {'…' if choices[0] is PydanticUndefined else choices[0]}'"
