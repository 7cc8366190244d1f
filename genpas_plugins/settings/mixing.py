"""The `mixing:` section.

mixing:
  method: basrec
  warmup_epochs: 20          # the first stage: epochs of the plain loss alone
  beta: 0.4                  # λ ~ Beta(beta, beta)
  rate_low: 0.2              # r ~ U(rate_low, rate_high): how much of a history an operator changes
  rate_high: 0.7
  views: 2                   # losses a step on histories mixed with a changed copy of themselves
  cross: 3                   # losses a step on encoder outputs and targets mixed across the batch
  released_weights: false    # true: weights as the authors' released code multiplies them

RecBole's command line and tuner know flat keys only, so `mixing_method`, `mixing_beta`, … mean the same, and win.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genpas_plugins.settings.settings_section import as_mapping, checked
from genpas_plugins.support.errors import InputError, nearest, whole_number

SECTION = "mixing"
PREFIX = "mixing_"
METHODS = ("basrec",)


@dataclass(frozen=True)
class MixingConfig:
    """A checked `mixing:` section; what the fields mean is said above."""

    method: str
    warmup_epochs: int = 20
    beta: float = 0.4
    rate_low: float = 0.2
    rate_high: float = 0.7
    views: int = 2
    cross: int = 3
    released_weights: bool = False

    def __post_init__(self) -> None:
        """Check every value, and that they go together."""
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}.{nearest(self.method, METHODS)}")
        for name in ("warmup_epochs", "views", "cross"):
            whole_number(name, getattr(self, name), 0)
        for name in ("beta", "rate_low", "rate_high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InputError(f"{name} must be a number above 0, not {value!r}.")
        if not self.rate_low <= self.rate_high <= 1:
            raise InputError(
                f"rate_low is {self.rate_low} and rate_high {self.rate_high}; they must be in order and at most 1."
            )
        if not isinstance(self.released_weights, bool):
            raise InputError(f"released_weights must be true or false, not {self.released_weights!r}.")
        if not self.views and not self.cross:
            raise InputError(f"views and cross are both 0: nothing would be mixed. Remove the {SECTION} key instead.")

    @classmethod
    def from_mapping(cls, section: Any, where: str = "the configuration") -> MixingConfig:
        """Check a `mixing:` section, a mapping or just a method's name.

        Raises InputError naming `where`, the key, its value and what would be valid.

        >>> MixingConfig.from_mapping({"method": "basrec", "views": 1}).views
        1
        """
        return checked(cls, _as_mapping(section, where), SECTION, where, first="method", choices=METHODS)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str = "the configuration") -> MixingConfig | None:
        """Read the `mixing:` section and its flat synonyms out of a whole configuration; None if neither is there.

        A flat key wins over the section. Raises InputError as `from_mapping` does, and for a section without content.

        >>> MixingConfig.from_config({"mixing": "basrec", "mixing_views": 1}).views
        1
        """
        flat = {str(key).removeprefix(PREFIX): value for key, value in config.items() if str(key).startswith(PREFIX)}
        if SECTION not in config and not flat:
            return None
        section = config.get(SECTION)
        if section is None and flat:
            section = {}
        return cls.from_mapping({**_as_mapping(section, where), **flat}, where)


def _as_mapping(section: Any, where: str) -> dict[str, Any]:
    """Return a copy of the section; a method's name stands for its key."""
    return as_mapping(section, SECTION, where, first="method", example=METHODS[0])
