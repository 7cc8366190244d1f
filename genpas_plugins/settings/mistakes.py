"""pydantic's errors as the sentences of this library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from genpas_plugins.settings.field_words import type_parts, valid_values
from genpas_plugins.settings.yaml_text import KeyPath
from genpas_plugins.support.errors import nearest, shortened

_NOT_KEYS = ("model_type", "model_attributes_type", "dict_type", "mapping_type")


class Mistake(NamedTuple):
    """The keys that lead to a wrong value and a sentence about it."""

    path: KeyPath
    sentence: str


def mistakes(model: type[BaseModel], error: ValidationError, name: str = "") -> list[Mistake]:
    """Return what is wrong. Unknown keys come first because one is often the missing key in a misspelling."""
    found = sorted(error.errors(include_url=False), key=lambda details: details["type"] != "extra_forbidden")
    return [_mistake(model, details, name) for details in found]


def _mistake(model: type[BaseModel], error: ErrorDetails, section: str) -> Mistake:
    kind, value = error["type"], error["input"]
    value = list(value) if isinstance(value, tuple) else value  # as it was written
    path, annotation, metadata, parent = _walk(model, error["loc"])
    before, name = _label((section, *path) if section else path)
    annotated, _, optional = type_parts(annotation)
    if kind == "extra_forbidden":
        key = error["loc"][len(path)]
        text = f"{before}{name or model.__name__} has no key {key!r}.{nearest(key, parent.model_fields)}"
        return Mistake((*path, key), text)
    if kind == "missing":
        examples = parent.model_fields[str(path[-1])].examples
        such = f", such as {' or '.join(examples)}" if examples else ""
        return Mistake(path[:-1], f"{before}{name} is missing; it must be {valid_values(annotation, metadata)}{such}.")
    if kind == "value_error":
        of_keys_together = name and annotated is parent
        text = f"{before}{name}: " if of_keys_together else before
        return Mistake(path, f"{text}{error['ctx']['error']}")
    if kind in _NOT_KEYS:
        text = f"must hold keys such as {_example(parent)}"
    elif get_origin(annotated) is Literal:
        choices = [*map(str, get_args(annotated)), *(["null"] if optional else [])]
        return Mistake(path, f"{before}{name} is {shortened(repr(value))}.{nearest(value, choices)}")
    else:
        text = f"must be {valid_values(annotation, metadata)}"
    return Mistake(path, f"{before}{name or model.__name__} {text}, not {shortened(repr(value))}.")


def _walk(model: type[BaseModel], loc: KeyPath) -> tuple[KeyPath, Any, list[Any], type[BaseModel]]:
    """Follow an error's location through the fields to its path, annotation, metadata and innermost model.

    pydantic adds the names of a union's members to a location. The path ends before them.
    """
    annotation: Any = model
    metadata: list[Any] = []
    path: KeyPath = ()
    for name in loc:
        kind, _, _ = type_parts(annotation)
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
    kind, _, _ = type_parts(annotation)
    return path, annotation, metadata, kind if isinstance(kind, type) and issubclass(kind, BaseModel) else model


def _label(path: KeyPath) -> tuple[str, str]:
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts[-1] = f"value {key + 1} of {parts[-1]}"
        else:
            parts.append(str(key))
    return "".join(f"{part}: " for part in parts[:-1]), parts[-1] if parts else ""


def _example(model: type[BaseModel]) -> str:
    name, field = next(iter(model.model_fields.items()))
    choices = (
        get_args(field.annotation) if get_origin(field.annotation) is Literal else field.examples or [field.default]
    )
    if isinstance(choices[0], tuple):
        return f"'{name}: {list(choices[0])}'"
    return f"'{name}: {'…' if choices[0] is PydanticUndefined else choices[0]}'"
