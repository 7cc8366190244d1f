"""Settings that a file of finished work was made with, beside those of now: whether the work may be taken up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from genpas_plugins.settings import mixing
from genpas_plugins.settings import personaliser as regeneration
from genpas_plugins.settings.genpas import SECTION, GenPASConfig
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import as_json_value

_SECTIONS: dict[str, type[GenPASConfig | mixing.MixingConfig | regeneration.PersonaliserConfig]] = {
    SECTION: GenPASConfig,
    mixing.SECTION: mixing.MixingConfig,
    regeneration.SECTION: regeneration.PersonaliserConfig,
}


def with_defaults(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded settings in which keys that our sections have got since stand at their defaults.

    Keys that the sections have no more stay, so that `differences` names them.
    """
    return {name: _read_back(name, value) for name, value in recorded.items()}


def differences(before: Any, now: Any, may_differ: Collection[str] = (), name: str = "") -> Iterator[str]:
    """Yield a phrase for every value that is not what it was, by its dotted name; a key without a value is not set.

    may_differ : dotted names that do not matter

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
    if name not in _SECTIONS or not isinstance(section, Mapping):
        return section
    kind = _SECTIONS[name]
    names = {field.name for field in fields(kind)}
    known = {key: value for key, value in section.items() if key in names}
    try:
        return {
            **as_json_value(asdict(kind.from_mapping(known))),
            **{key: section[key] for key in section.keys() - names},
        }
    except InputError:
        return section  # of a version with other values: compared as it stands
