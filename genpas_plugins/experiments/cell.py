"""One cell of a comparison: a method with one seed, and settings of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from genpas_plugins.experiments.methods import Method
from genpas_plugins.settings.genpas import PREFIX, GenPASConfig


@dataclass(frozen=True)
class Cell:
    """A method with one seed; `name` is that of its file and of its checkpoints' folder.

    settings : names and values that are no lists, of this cell alone: RecBole settings, which win over all others, and
        flat keys genpas_…, which go into the method's section
    """

    method: Method
    seed: int
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The label, the settings if there are any, and the seed."""
        settings = [re.sub(r"[^\w.=-]+", "_", f"{key}={value}") for key, value in self.settings]
        return ".".join([self.method.label, *([",".join(settings)] if settings else []), f"seed{self.seed}"])

    @property
    def sections(self) -> dict[str, Any]:
        """RecBole settings that switch the method on, with the cell's own keys inside."""
        return replace(self.method, genpas=self._genpas()).settings

    @property
    def recbole(self) -> dict[str, Any]:
        """RecBole settings of this cell alone."""
        return {key: value for key, value in self.settings if not key.startswith(PREFIX)}

    def check(self) -> None:
        """Raise InputError for a flat key that the method's section has not, or a value that it does not take."""
        self._genpas()

    def _genpas(self) -> GenPASConfig:
        own = {key: value for key, value in self.settings if key.startswith(PREFIX)}
        if not own:
            return self.method.genpas
        config = GenPASConfig.from_config({**self.method.settings, **own}, self.method.label)
        assert config is not None
        return config
