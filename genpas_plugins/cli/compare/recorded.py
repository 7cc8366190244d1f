"""What a finished cell's file says it was trained with, beside what it would be trained with now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from genpas_plugins.configuration import SECTION, GenPASConfig
from genpas_plugins.errors import InputError
from genpas_plugins.json_text import plain
from genpas_plugins.mixing import settings as mixing

_KINDS: dict[str, type[GenPASConfig | mixing.MixingConfig]] = {
    SECTION: GenPASConfig,
    mixing.SECTION: mixing.MixingConfig,
}
_ABSENT = object()


def with_defaults(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded configuration in which keys that a method's sections have got since stand at their defaults.

    Keys that the sections have no more stay, so that `differences` names them.
    """
    method = {name: _read_back(section, _KINDS.get(name)) for name, section in recorded["method"].items()}
    return {**recorded, "method": method}


def differences(before: Any, now: Any, where: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a phrase for every value that is not what it was, naming the keys on the way to it.

    >>> list(differences({"settings": {"a": "1", "b": "2"}}, {"settings": {"a": "3", "b": "2"}, "seed": 1}))
    ['settings: a was 1 and is 3 now', 'seed was not set and is 1 now']
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            yield from differences(before.get(key, _ABSENT), now.get(key, _ABSENT), (*where, key))
    elif before != now:
        was, is_now = ("not set" if value is _ABSENT else value for value in (before, now))
        yield f"{': '.join(where)} was {was} and is {is_now} now"


def _read_back(section: Any, kind: type[GenPASConfig | mixing.MixingConfig] | None) -> Any:
    if kind is None or not isinstance(section, Mapping):
        return section
    names = {field.name for field in fields(kind)}
    known = {key: value for key, value in section.items() if key in names}
    try:
        return {**plain(asdict(kind.from_mapping(known))), **{key: section[key] for key in section.keys() - names}}
    except InputError:
        return section  # of a version with other values: compared as it stands
