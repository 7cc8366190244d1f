"""Compare the settings of finished work with today's: work may only go on under the same ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from genpas_plugins.settings.all_sections import SECTIONS
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import as_json_value


def with_defaults(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded settings with defaults for the keys that our sections have got since.

    Keys that the sections no longer have stay: `differences` names them.
    """
    return {name: _read_back(name, value) for name, value in recorded.items()}


def differences(before: Any, now: Any, may_differ: Collection[str] = (), name: str = "") -> Iterator[str]:
    """Yield a phrase for every changed value with its dotted name. A key without a value is not set.

    Parameters
    ----------
    may_differ : dotted names that do not matter
    name : the dotted name of both

    Examples
    --------
    >>> list(differences({"settings": {"a": "1", "b": "2"}}, {"settings": {"a": "3", "b": "2"}, "seed": 1}))
    ["settings.a was '1' and is '3' now", 'seed was not set and is 1 now']
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            below = f"{name}.{key}" if name else str(key)
            yield from differences(before.get(key), now.get(key), may_differ, below)
    elif before != now and name not in may_differ:
        was, is_now = ("not set" if value is None else repr(value) for value in (before, now))
        yield f"{name} was {was} and is {is_now} now"


def _read_back(name: str, section: Any) -> Any:
    if name not in SECTIONS or not isinstance(section, Mapping):
        return section
    names = SECTIONS[name].model_fields
    gone = {key: value for key, value in section.items() if key not in names}
    try:
        known = SECTIONS[name].from_mapping({key: value for key, value in section.items() if key in names})
    except InputError:
        return section  # of a version with other values: compared as it is
    return {**as_json_value(known), **gone}
