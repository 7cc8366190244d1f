"""How plain values become checked frozen settings with one sentence for every mistake.

`Settings` is the base of every model. `Section` is the base of a section with flat keys beside it: `genpas_alpha`
is `alpha` of the `genpas` section. The checked object travels. `model_dump()` is for a checkpoint or a report.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from typing_extensions import Self

from genpas_plugins.settings.mistakes import mistakes
from genpas_plugins.settings.yaml_text import KeyPath
from genpas_plugins.support.errors import InputError

Where = str | Callable[[Collection[KeyPath]], str]
"""Names a place in a message: text, or a function of the keys in question, as `YamlFile.where`."""


class Settings(BaseModel):
    """Checked frozen settings. A subclass declares one field a key with `Field(description=…)`.

    A list becomes a tuple and a numpy number Python's. Nothing else is converted.

    Raises
    ------
    InputError
        For an unknown or missing key or a value of another type or out of bounds.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(mistakes(type(self), error)[0].sentence) from None

    # pydantic then checks nested settings without this method, so that their errors keep the path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, given: Any) -> Any:
        return cls._as_keys(given)

    @classmethod
    def _as_keys(cls, given: Any) -> Any:
        return {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else given

    @field_validator("*", mode="before")
    @classmethod
    def _python_value(cls, value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        return tuple(value) if isinstance(value, list) else value

    @classmethod
    def read(cls, given: Any, where: Where = "the configuration", path: KeyPath = ()) -> Self:
        """Check a mapping of keys and values. Checked settings are returned as they are.

        Parameters
        ----------
        where : the place for messages
        path : keys that lead to the mapping from the top of its file

        Raises
        ------
        InputError
            As the class does. The message has the place and the key.
        """
        return cls._read(given, where, path, lambda keys: [(*path, *keys)])

    def replaced(self, **changes: Any) -> Self:
        """Return checked settings with other values for these keys."""
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def _read(cls, given: Any, where: Where, path: KeyPath, places: Callable[[KeyPath], list[KeyPath]]) -> Self:
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            mistake = mistakes(cls, error, str(path[-1]) if path else "")[0]
            raise InputError(f"{place(where, places(mistake.path))}: {mistake.sentence}") from None


class Section(Settings):
    """A section of a configuration file with flat keys beside it for command lines and tuners.

    SECTION is the section's key. Text alone is the value of the key FIRST.
    """

    SECTION: ClassVar[str]
    FIRST: ClassVar[str] = ""

    @classmethod
    def _as_keys(cls, given: Any) -> Any:
        return {cls.FIRST: given} if cls.FIRST and isinstance(given, str) else super()._as_keys(given)

    @classmethod
    def from_mapping(cls, section: Any, where: Where = "the configuration") -> Self:
        """Check the section: a mapping or the value of FIRST alone. Raises InputError as `read` does."""
        return cls.read(section, where, (cls.SECTION,))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: Where = "the configuration") -> Self | None:
        """Read the section and its flat keys out of a whole configuration. None if neither is there.

        A flat key wins over the section's. Both values are checked.

        Raises
        ------
        InputError
            As `read` does and for an empty section.
        """
        prefix, section = f"{cls.SECTION}_", config.get(cls.SECTION)
        flat = {str(key).removeprefix(prefix): value for key, value in config.items() if str(key).startswith(prefix)}
        if not flat:
            return cls.from_mapping(section, where) if cls.SECTION in config else None
        own = {} if section is None else dict(section) if isinstance(section, cls) else cls._as_keys(section)
        if isinstance(own, Mapping):
            cls._check_hidden({**flat, **own}, own, where)
            own = cls.merged(own, flat)

        def places(keys: KeyPath) -> list[KeyPath]:
            if keys and keys[0] in flat:
                return [(prefix + keys[0], *keys[1:])]
            return [(cls.SECTION, *keys), *([] if keys else [(prefix + key,) for key in flat])]

        return cls._read(own, where, (cls.SECTION,), places)

    @classmethod
    def merged(cls, section: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys of a section and the flat keys. Flat keys win."""
        return {**section, **flat}

    @classmethod
    def _check_hidden(cls, given: Mapping[str, Any], own: Mapping[str, Any], where: Where) -> None:
        """Raise InputError for a wrong value in the section even if a flat key wins over it."""
        try:
            cls.model_validate(given)
        except ValidationError as error:
            for mistake in mistakes(cls, error, cls.SECTION):
                if mistake.path and mistake.path[0] in own:
                    at = place(where, [(cls.SECTION, *mistake.path)])
                    raise InputError(f"{at}: {mistake.sentence}") from None


def place(where: Where, paths: Collection[KeyPath]) -> str:
    """Return the place of these keys."""
    return where if isinstance(where, str) else where(paths)
