"""How a section of a configuration becomes a checked dataclass, with the same words for every section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from genpas_plugins.support.errors import InputError, nearest

Checked = TypeVar("Checked")


def as_mapping(section: Any, name: str, where: str, *, first: str, example: str) -> dict[str, Any]:
    """Return a copy of a section; text alone stands for its key `first`. Raises InputError for anything else."""
    if isinstance(section, str):
        return {first: section}
    if not isinstance(section, Mapping):
        raise InputError(f"{where}: {name} must hold keys such as '{first}: {example}', not {section!r}.")
    return dict(section)


def checked(
    kind: type[Checked],
    section: Mapping[str, Any],
    name: str,
    where: str,
    *,
    first: str | None = None,
    choices: Sequence[str] = (),
) -> Checked:
    """Return the dataclass `kind` of a section's keys, of which `first`, one of `choices`, must be there if it is said.

    Raises InputError naming `where`, the section, the key, its value and what would be valid.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    for key in section:
        if key not in known:
            raise InputError(f"{where}: {name} has no key {key!r}.{nearest(key, known)}")
    if first is not None and first not in section:
        raise InputError(f"{where}: {name} needs a {first}: one of {', '.join(choices)}.")
    try:
        return kind(**section)
    except InputError as error:
        raise InputError(f"{where}: {name}: {error}") from None
