"""The `personaliser:` section.

personaliser:
  method: dr4sr_plus
  warmup_epochs: 10          # epochs of the plain loss, before any weight
  interval: 30               # batches between two steps of the personaliser
  terms: 3                   # Hessian products of the Neumann series
  step: null                 # of the series; null: the model's learning rate
  learning_rate: 0.01        # of the personaliser, by Adam
  hidden: 64                 # width of its hidden layer

Warm-up, interval, terms and width are the authors' released ones. Their personaliser moves by SGD along gradients of
sums over batches; here losses are means, so Adam, which does not mind the scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from genpas_plugins.settings.settings_section import as_mapping, checked
from genpas_plugins.support.errors import InputError, nearest, whole_number

SECTION = "personaliser"
METHODS = ("dr4sr_plus",)


@dataclass(frozen=True)
class PersonaliserConfig:
    """A checked `personaliser:` section; what the fields mean is said above."""

    method: str
    warmup_epochs: int = 10
    interval: int = 30
    terms: int = 3
    step: float | None = None
    learning_rate: float = 0.01
    hidden: int = 64

    def __post_init__(self) -> None:
        """Check every value."""
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}.{nearest(self.method, METHODS)}")
        for name, least in (("warmup_epochs", 0), ("interval", 1), ("terms", 0), ("hidden", 1)):
            whole_number(name, getattr(self, name), least)
        for name in ("step", "learning_rate"):
            value = getattr(self, name)
            if name == "step" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InputError(f"{name} must be a number above 0, not {value!r}.")

    @classmethod
    def from_mapping(cls, section: Any, where: str = "the configuration") -> PersonaliserConfig:
        """Check a `personaliser:` section, a mapping or just a method's name.

        Raises InputError naming `where`, the key, its value and what would be valid.

        >>> PersonaliserConfig.from_mapping({"method": "dr4sr_plus", "interval": 10}).interval
        10
        """
        keys = as_mapping(section, SECTION, where, first="method", example=METHODS[0])
        return checked(cls, keys, SECTION, where, first="method", choices=METHODS)
