"""The `genpas:` section, the same words in RecBole's YAML, TorchRec's, the command line and Python.

    genpas:
      strategy: multi_target     # last_target | multi_target | slide_window (enumerated) | sampled
      alpha: 1.0                 # with strategy: sampled; .inf and -.inf are legal
      beta: 0.0
      gamma: 0.0
      pairs_per_epoch: null      # null: one pass of an enumerated strategy; as many as multi_target has when sampled
      augment: null              # {operator: insert, rate: 0.3, probability: 0.5}, or a list of these, in order
      targets: single            # single | parallel: one forward pass trains all targets of a history; causal models
      trim: false                # true: pad a batch to its longest history, in ranking too; parallel always does
      time_order: exact          # exact: full-precision timestamps | stock: RecBole's float32 order, for comparisons
      train_users: 1.0           # share of the users to train on, above 0 to 1; all are validated and tested

RecBole's command line and tuner know flat keys only, so `genpas_strategy`, `genpas_alpha`, … mean the same, and win.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genpas_plugins.augment import Operator, operators_of
from genpas_plugins.sampling.policy import EXPONENTS, SAMPLED, STRATEGIES, SamplingPolicy
from genpas_plugins.sampling.sampler import check_pairs_per_epoch
from genpas_plugins.sampling.train_users import check_share
from genpas_plugins.settings.settings_section import as_mapping, checked
from genpas_plugins.support.errors import InputError, nearest

EXPONENT_NAMES = ("alpha", "beta", "gamma")
SECTION = "genpas"
PREFIX = "genpas_"

_INFINITIES = {"inf": math.inf, ".inf": math.inf, "-inf": -math.inf, "-.inf": -math.inf}
"""What RecBole's command line hands over as text, because its evaluation knows no such name."""


@dataclass(frozen=True)
class GenPASConfig:
    """A checked `genpas:` section.

    strategy        : last_target, multi_target, slide_window or sampled
    alpha, beta, gamma : exponents, with strategy sampled; None otherwise
    pairs_per_epoch : length of an epoch, None for the strategy's own
    augment         : what changes drawn histories, in order; given as a mapping or a list of them, None for none
    targets         : "single", one target a history, or "parallel", every target behind its start in one pass
    trim            : whether a batch is padded to its longest history instead of the maximum length, in ranking too
    time_order      : "exact" or "stock"
    train_users     : share of the users to train on, above 0 and at most 1; the others are still validated and tested
    """

    strategy: str
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    pairs_per_epoch: int | None = None
    augment: tuple[Operator, ...] | None = None
    targets: str = "single"
    trim: bool = False
    time_order: str = "exact"
    train_users: float = 1.0

    def __post_init__(self) -> None:
        """Check every value, and that they go together."""
        _check_choice("strategy", self.strategy, STRATEGIES)
        exponents = {name: getattr(self, name) for name in EXPONENT_NAMES}
        given = [name for name, value in exponents.items() if value is not None]
        if self.strategy == SAMPLED and len(given) < len(exponents):
            missing = ", ".join(name for name in exponents if name not in given)
            raise InputError(f"strategy sampled needs alpha, beta and gamma; {missing} is missing.")
        if self.strategy != SAMPLED and given:
            raise InputError(
                f"strategy {self.strategy} has exponents of its own, {EXPONENTS[self.strategy]}; "
                f"remove {', '.join(given)} or set strategy: sampled."
            )
        if self.pairs_per_epoch is not None:
            check_pairs_per_epoch(self.pairs_per_epoch)
        object.__setattr__(self, "augment", operators_of(self.augment))
        _check_choice("targets", self.targets, ("single", "parallel"))
        if self.targets == "parallel" and self.augment is not None:
            raise InputError(
                "targets: parallel trains the items of a history as they stand, and augment changes them; "
                "set targets: single or remove augment."
            )
        if not isinstance(self.trim, bool):
            raise InputError(f"trim must be true or false, not {self.trim!r}.")
        _check_choice("time_order", self.time_order, ("exact", "stock"))
        check_share(self.train_users)
        _ = self.policy

    @property
    def policy(self) -> SamplingPolicy:
        """The distribution that the section names. Raises InputError for an exponent that is NaN or no number."""
        if self.strategy != SAMPLED:
            return SamplingPolicy.named(self.strategy)
        return SamplingPolicy(self.alpha, self.beta, self.gamma)  # type: ignore[arg-type]  # None was refused above

    @classmethod
    def from_mapping(cls, section: Any, where: str = "the configuration") -> GenPASConfig:
        """Check a `genpas:` section, a mapping or just a strategy's name.

        Raises InputError naming `where`, the key, its value and what would be valid.

        >>> GenPASConfig.from_mapping({"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0}).policy
        SamplingPolicy(alpha=1, beta=0, gamma=0)
        """
        return checked(cls, _as_mapping(section, where), SECTION, where, first="strategy", choices=STRATEGIES)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str = "the configuration") -> GenPASConfig | None:
        """Read the `genpas:` section and its flat synonyms out of a whole configuration; None if neither is there.

        A flat key wins over the section, as the command line's and the tuner's should; with another strategy the
        section's exponents fall away. Raises InputError as `from_mapping` does.

        >>> GenPASConfig.from_config({"genpas": "multi_target", "genpas_pairs_per_epoch": 9}).pairs_per_epoch
        9
        """
        section = config.get(SECTION)
        flat = {key.removeprefix(PREFIX): value for key, value in config.items() if str(key).startswith(PREFIX)}
        if section is None and not flat:
            if SECTION in config:
                raise InputError(f"{where}: {SECTION} is empty. Give it a strategy: one of {', '.join(STRATEGIES)}.")
            return None
        merged = {} if section is None else _as_mapping(section, where)
        flat = _as_mapping(flat, where)
        if flat.get("strategy", SAMPLED) != SAMPLED:
            merged = {name: value for name, value in merged.items() if name not in EXPONENT_NAMES}
        return cls.from_mapping({**merged, **flat}, where)


def _as_mapping(section: Any, where: str) -> dict[str, Any]:
    """Return a copy of the section: a strategy's name stands for its key, an exponent's spelling of infinity for it."""
    keys = as_mapping(section, SECTION, where, first="strategy", example="multi_target")
    return {
        key: _INFINITIES.get(value, value) if key in EXPONENT_NAMES and isinstance(value, str) else value
        for key, value in keys.items()
    }


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}.{nearest(value, choices)}")
