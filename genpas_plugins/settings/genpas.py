"""The `genpas:` section with the same words in RecBole's and TorchRec's YAML, the command line and Python.

RecBole's command line and tuner know only flat keys. `genpas_alpha` means `alpha` of the section and wins over it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, model_validator
from typing_extensions import Self

from genpas_plugins.augment import Operator, operators_of
from genpas_plugins.data.ties import parse_ties
from genpas_plugins.sampling.constructions import CONSTRUCTIONS, construction_of
from genpas_plugins.sampling.mixture import MIXTURE, Mixture
from genpas_plugins.sampling.policy import SAMPLED, Policy, SamplingPolicy, check_exponent, named_policy
from genpas_plugins.settings.base import Section
from genpas_plugins.settings.loss import LossConfig
from genpas_plugins.settings.points import read_number, read_policy
from genpas_plugins.support.errors import InputError, nearest

EXPONENT_NAMES = ("alpha", "beta", "gamma")
AUTO = "auto"
"""The strategy that is chosen by `genpas search` when an adapter splits the data."""

SECTION = "genpas"
PREFIX = "genpas_"


def exponent(value: Any, info: ValidationInfo) -> float:
    """Return the value of an exponent's field as a float. Raises InputError for NaN and for other types.

    RecBole passes infinities as text. Its YAML needs the dot and its command line knows neither name.
    """
    number = read_number(value) if isinstance(value, str) else value
    infinite = isinstance(number, float) and math.isinf(number)
    return check_exponent(str(info.field_name), number if infinite else value) + 0.0  # 0.0 for -0.0


def strategy_name(value: Any) -> str:
    """Return the name of a strategy. A construction's name has all of its numbers if some are given.

    >>> strategy_name("last_target"), strategy_name("strided_windows:stride=5")
    ('last_target', 'strided_windows:width=50:stride=5')
    """
    names = (SAMPLED, AUTO, MIXTURE, *sorted(CONSTRUCTIONS))
    if not isinstance(value, str) or value.split(":")[0] not in names:
        raise InputError(f"strategy is {value!r}.{nearest(value, names)}")
    return construction_of(value).label if ":" in value else value


def _ties_word(value: Any) -> str:
    parse_ties(word := str(value))
    return word


Ties = Annotated[str, PlainValidator(_ties_word)]
"""A word for the order of ties; see `genpas_plugins.data.ties`."""


def _plain_operators(operators: tuple[Operator, ...] | None) -> Any:
    return None if operators is None else [asdict(operator) for operator in operators]


Exponent = Annotated[float, PlainValidator(exponent)]
Operators = Annotated[tuple[Operator, ...] | None, PlainValidator(operators_of), PlainSerializer(_plain_operators)]


def _mixture(value: Any) -> tuple[tuple[str, float], ...] | None:
    """Return words of policies and their weights. Raises InputError for another word and for a weight that is none."""
    if value is None:
        return None
    pairs = tuple(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):  # noqa: PLR2004
        raise InputError(
            f"mixture has policies and their weights, as {{multi_target: 0.5, '1,0,0': 0.5}}, not {value!r}."
        )
    for word, weight in pairs:
        if not isinstance(word, str) or isinstance(weight, bool) or not isinstance(weight, int | float):
            raise InputError(f"mixture: {word!r} has the weight {weight!r}. Write a policy and a number.")
    Mixture(tuple(weight for _, weight in pairs), tuple(read_policy(word, "mixture") for word, _ in pairs))
    return tuple((word, float(weight)) for word, weight in pairs)


Mixed = Annotated[
    tuple[tuple[str, float], ...] | None, PlainValidator(_mixture), PlainSerializer(lambda pairs: pairs and dict(pairs))
]


class GenPASConfig(Section):
    """A checked `genpas:` section."""

    SECTION: ClassVar[str] = SECTION
    FIRST: ClassVar[str] = "strategy"

    strategy: Annotated[str, PlainValidator(strategy_name)] = Field(
        description="sampled: drawn by the exponents; auto: searched on validation; mixture: of several policies; or "
        "the name of a construction, with its numbers after colons",
        examples=["last_target", "last_items:length=50"],
    )
    alpha: Exponent | None = Field(None, description="with strategy sampled: p(sequence) ∝ (length - 1)^alpha")
    beta: Exponent | None = Field(None, description="with strategy sampled: p(target k) ∝ (k - 1)^beta")
    gamma: Exponent | None = Field(None, description="with strategy sampled: p(start j) ∝ j^gamma")
    mixture: Mixed = Field(
        None,
        description="with strategy mixture: the weight of each policy, a strategy or exponents",
        examples=[{"multi_target": 0.5, "1,0,0": 0.5}],
    )
    pairs_per_epoch: int | None = Field(
        None, ge=1, le=2**61, description="null: one enumerated pass; as many as multi_target has when sampled or mixed"
    )
    augment: Operators = Field(
        None, description="{operator: insert, rate: 0.3, probability: 0.5}, or a list of operators, applied in order"
    )
    targets: Literal["single", "parallel"] = Field(
        "single", description="parallel: one pass trains all targets of a history; for causal models"
    )
    loss: LossConfig | None = Field(
        None,
        description="{name: sampled_softmax, negatives: 256} in place of cross-entropy over all items; or gbce, bce",
    )
    trim: bool = Field(
        False, description="true: pad a batch to its longest history, in ranking too; parallel always does"
    )
    time_order: Literal["exact", "stock"] = Field(
        "exact", description="stock: RecBole's float32 order of times, for comparisons"
    )
    ties: Ties = Field(
        "file", description="order of interactions at the same time: file, or random:SEED", examples=["random:1"]
    )
    device: Literal["auto", "cpu"] = Field(
        "auto", description="auto: a run on a GPU draws its batches there if it can; cpu: never"
    )
    train_users: float = Field(
        1.0, gt=0, le=1, description="share of the users to train on; all are validated and tested"
    )

    warm_start: str | None = Field(
        None, description="checkpoint whose weights a training with more data begins with; items may be new"
    )
    replay: float | None = Field(
        None, gt=0, lt=1, description="with warm_start: share of pairs of its data; the rest have new targets"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.replay is not None and (self.warm_start is None or self.targets == "parallel"):
            raise InputError(
                "replay mixes single pairs of the data of an earlier training in; set warm_start to its checkpoint and "
                "targets: single, or remove replay."
            )
        given = [name for name in EXPONENT_NAMES if getattr(self, name) is not None]
        if self.strategy == SAMPLED and len(given) < len(EXPONENT_NAMES):
            missing = ", ".join(name for name in EXPONENT_NAMES if name not in given)
            raise InputError(f"strategy sampled needs alpha, beta and gamma; {missing} is missing.")
        if self.strategy != SAMPLED and given:
            raise InputError(
                f"strategy {self.strategy} has a distribution of its own; "
                f"remove {', '.join(given)} or set strategy: sampled."
            )
        if (self.mixture is None) == (self.strategy == MIXTURE):
            raise InputError(
                "strategy mixture needs the key mixture with policies and weights: {multi_target: 0.5, '1,0,0': 0.5}. "
                "Other strategies have none."
            )
        if self.targets == "parallel" and self.augment is not None:
            raise InputError(
                "targets: parallel trains the items of a history as they are, and augment changes them; "
                "set targets: single or remove augment."
            )
        if self.targets == "parallel" and self.strategy != AUTO:
            policy = self.policy
            for part in policy.policies if isinstance(policy, Mixture) else (policy,):
                if part.construction is not None:
                    part.construction.require_windows()
        return self

    def require_only(self, *names: str) -> None:
        """Raise InputError if a key of other names is set. A framework that cannot use the key calls this."""
        for name, field in type(self).model_fields.items():
            if name not in names and getattr(self, name) != field.default:
                raise InputError(f"{name} is not read here; only {', '.join(names)} are. Remove it.")

    @property
    def policy(self) -> Policy:
        """The distribution that the section names. Raises InputError for `auto` before the data is split."""
        if self.strategy == AUTO:
            raise InputError(
                "strategy auto is chosen on validation when RecBole has split its data. Name a strategy here, or run "
                "`genpas search` and take its genpas.yaml."
            )
        if self.mixture is not None:
            words, weights = zip(*self.mixture, strict=True)
            return Mixture(weights, tuple(read_policy(word, "mixture") for word in words))
        if self.alpha is None or self.beta is None or self.gamma is None:
            return named_policy(self.strategy)
        return SamplingPolicy(self.alpha, self.beta, self.gamma)

    @classmethod
    def merged(cls, section: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys of a section and the flat keys. Another flat strategy removes the section's exponents."""
        if flat.get("strategy", SAMPLED) != SAMPLED:
            section = {name: value for name, value in section.items() if name not in EXPONENT_NAMES}
        return {**section, **flat}
