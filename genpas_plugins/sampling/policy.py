"""The distribution of training pairs: three exponents or a construction.

GenPAS (arXiv 2509.13648, section 4) draws a pair in three steps. |s| is the length of the training sequence:

    sequence   p(s)       ∝ (|s| - 1)^α                     α > 0 favours long sequences
    target     p(k | s)   ∝ (k - 1)^β,  k ∈ {2 … |s|}       β > 0 favours recent targets
    start      p(j | k)   ∝ j^γ,        j ∈ {1 … k - 1}     γ > 0 favours short histories

An exponent of ±∞ puts all mass on the largest (smallest) choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

import numpy as np

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.constructions import CONSTRUCTIONS, Construction, construction_of
from genpas_plugins.support.array_types import Float64, Int64
from genpas_plugins.support.errors import InputError, nearest, whole_number

EXPONENTS = {name: kind.exponents for name, kind in sorted(CONSTRUCTIONS.items()) if kind.exponents is not None}
"""The named strategies that exponents are near to, and the exponents.

All but `slide_window` have exactly the distribution of their exponents. `slide_window` gives a sequence the mass
|s| (|s| - 1) / 2 of its windows, not (|s| - 1)²; target and start follow its exponents.
"""
SAMPLED = "sampled"


class Policy(Protocol):
    """A probability distribution over (sequence, target, start) from exponents or a construction.

    Attributes
    ----------
    strategy : value of the `strategy` key
    label : name in tables and reports
    construction : what lists the pairs; None for exponents
    drawn : whether an epoch is drawn; else each pair comes once a pass
    alpha, beta, gamma : the exponents; None for a construction without exponents
    """

    @property
    def strategy(self) -> str: ...  # noqa: D102 – documented above

    @property
    def label(self) -> str: ...  # noqa: D102 – documented above

    @property
    def construction(self) -> Construction | None: ...  # noqa: D102 – documented above

    @property
    def drawn(self) -> bool: ...  # noqa: D102 – documented above

    @property
    def alpha(self) -> float | None: ...  # noqa: D102 – documented above

    @property
    def beta(self) -> float | None: ...  # noqa: D102 – documented above

    @property
    def gamma(self) -> float | None: ...  # noqa: D102 – documented above

    def sequence_mass(self, view: SequenceView) -> Float64:
        """Return the probability float64 [len(view.groups.length)] of the sequences of each length group."""

    def log_prob(self, view: SequenceView, pairs: Pairs) -> Float64:
        """Return ln p(s, k, j) float64 [n] of each pair: -inf for a pair that is never drawn."""

    def expected_history_length(self, view: SequenceView, max_length: int | None = None) -> float:
        """Return the exact mean number of items in a history after a cut to `max_length`."""


def named_policy(strategy: str) -> Policy:
    """Return the policy of a strategy's name with its numbers. See `construction_of`.

    A strategy that exponents are near to is a `SamplingPolicy`. Raises InputError for an unknown name or number.

    >>> named_policy("multi_target"), named_policy("last_items:length=20")
    (SamplingPolicy.named('multi_target'), LastItems(length=20))
    """
    construction = construction_of(strategy)
    return SamplingPolicy.named(strategy) if construction.exponents is not None else construction


@dataclass(frozen=True, repr=False)
class SamplingPolicy:
    """A probability distribution over (sequence, target, start).

    Parameters
    ----------
    alpha, beta, gamma : the exponents, any numbers including ±inf; NaN raises InputError
    strategy : "sampled", or the enumerated strategy that `SamplingPolicy.named` was given

    Examples
    --------
    >>> SamplingPolicy(alpha=1, beta=0, gamma=-math.inf)
    SamplingPolicy(alpha=1, beta=0, gamma=-inf)  # multi_target
    """

    alpha: float
    beta: float
    gamma: float
    strategy: str = SAMPLED

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            object.__setattr__(self, name, check_exponent(name, getattr(self, name)))
        if self.strategy != SAMPLED and EXPONENTS.get(self.strategy) != (self.alpha, self.beta, self.gamma):
            raise InputError(f"Make an enumerated strategy with SamplingPolicy.named({self.strategy!r}).")

    @classmethod
    def named(cls, strategy: str) -> SamplingPolicy:
        """Return the enumerated strategy of that name: each of its pairs exactly once an epoch.

        Examples
        --------
        >>> SamplingPolicy.named("slide_window")
        SamplingPolicy.named('slide_window')
        """
        if strategy not in EXPONENTS:
            raise InputError(f"Unknown enumerated strategy {strategy!r}.{nearest(strategy, EXPONENTS)}")
        return cls(*EXPONENTS[strategy], strategy=strategy)

    def __repr__(self) -> str:
        """Show the call that makes the policy and the named strategy with the same distribution."""
        if self.strategy != SAMPLED:
            return f"SamplingPolicy.named({self.strategy!r})"
        exponents = (self.alpha, self.beta, self.gamma)
        equal = [name for name, point in EXPONENTS.items() if point == exponents and name != "slide_window"]
        comment = f"  # {equal[0]}" if equal else ""
        return "SamplingPolicy(alpha={}, beta={}, gamma={})".format(*map(shortest, exponents)) + comment

    @property
    def label(self) -> str:
        """The policy's name in tables and reports: its strategy or else the exponents as "1,0,0"."""
        if self.strategy != SAMPLED:
            return self.strategy
        return ",".join(map(shortest, (self.alpha, self.beta, self.gamma)))

    @property
    def construction(self) -> Construction | None:
        """What lists the pairs of a named strategy; None of exponents."""
        return None if self.strategy == SAMPLED else construction_of(self.strategy)

    @property
    def drawn(self) -> bool:
        """Whether an epoch is drawn; else each pair comes once a pass."""
        return self.strategy == SAMPLED

    def log_sequence_weight(self, length: Int64) -> Float64:
        """Return the unnormalised ln p(s) of sequences of these lengths ≥ 2 (step 1); finite for finite exponents."""
        if self.strategy == "slide_window":
            return np.log(length) + np.log(length - 1) - math.log(2)
        return log_power(length - 1, self.alpha)

    def sequence_weight(self, length: Int64) -> Float64:
        """Return unnormalised p(s) of sequences of these lengths ≥ 2; for α = 0 and 1 exact whole numbers."""
        with np.errstate(over="ignore"):
            weight = (length - 1).astype(np.float64) ** self.alpha
        if self.strategy != "slide_window" and weight.max() < 2.0**100 and weight.min() > 2.0**-100:
            return weight
        log_weight = self.log_sequence_weight(length)
        return np.asarray(np.exp(log_weight - log_weight.max()))

    def sequence_mass(self, view: SequenceView) -> Float64:
        """Return the probability float64 [len(view.groups.length)] of the sequences of each length group."""
        groups = view.groups
        log_mass = self.log_sequence_weight(groups.length) + np.log(groups.size)
        mass: Float64 = np.exp(log_mass - log_mass.max())
        return np.asarray(mass / mass.sum())

    def log_prob(self, view: SequenceView, pairs: Pairs) -> Float64:
        """Return ln p(s, k, j) float64 [n] of each pair: -inf for a pair that is never drawn.

        Raises InputError for an address outside the view.
        """
        sequence = np.asarray(pairs.sequence)
        if np.any((sequence < 0) | (sequence >= view.store.n_sequences)):
            raise InputError(
                f"Every pair needs a sequence from 0 to {view.store.n_sequences - 1}, the store's last row."
            )
        length = view.lengths(sequence)
        if np.any((pairs.start < 0) | (pairs.start >= pairs.target) | (pairs.target >= length)):
            raise InputError("Every pair needs 0 ≤ start < target < the length of its sequence in the view.")
        groups = view.groups
        log_weight = self.log_sequence_weight(groups.length)
        total = np.logaddexp.reduce(log_weight + np.log(groups.size))
        log_sequence = (log_weight - total)[np.searchsorted(groups.length, length)]
        log_target = log_choice(pairs.target, length - 1, self.beta)
        log_start = log_choice(pairs.start + 1, pairs.target, self.gamma)
        return np.asarray(log_sequence + log_target + log_start)

    def expected_history_length(self, view: SequenceView, max_length: int | None = None) -> float:
        """Return the exact mean number of items in a drawn history after a cut to `max_length`."""
        view.require_pairs()
        if max_length is not None:
            whole_number("max_length", max_length, 1)
        longest = view.max_length
        by_target = mean_history_length(longest - 1, self.gamma, max_length)
        targets = PowerTable.of(self.beta, longest - 1)
        by_length = targets.mean_of_first(by_target)
        return float(self.sequence_mass(view) @ by_length[view.groups.length - 1])


BELOW_ONE = 1 - 2.0**-53
"""The largest float64 below 1. Its rounded product with any positive float64 is below that float64."""


@dataclass(frozen=True, eq=False)
class PowerTable:
    """Powers of 1 … n and their cumulative sums. One table serves choices of every size m ≤ n.

    Attributes
    ----------
    exponent : the exponent e; for +inf every power is 1 and callers look at `last`
    powers : i^e, float64 [n]
    cumulative : Σ_{i ≤ m} i^e at index m, float64 [n + 1]
    """

    exponent: float
    powers: Float64
    cumulative: Float64

    @classmethod
    def of(cls, exponent: float, n: int) -> PowerTable:
        """Tabulate 1^e … n^e. Raises InputError if a finite exponent is so large that the sum overflows."""
        numbers = np.arange(1, n + 1, dtype=np.float64)
        with np.errstate(over="ignore"):
            powers = numbers**exponent if exponent < math.inf else np.ones(n)
            cumulative = np.concatenate([[0.0], np.cumsum(powers)])
        if not np.isfinite(cumulative[-1]):
            raise InputError(
                f"The exponent {exponent:g} overflows for sequences of {n + 1} items; "
                "use inf (all mass on the last choice) or a smaller one."
            )
        return cls(exponent, powers, cumulative)

    @property
    def last(self) -> bool:
        """Whether all mass is on the last choice m."""
        return self.exponent == math.inf

    @property
    def even(self) -> bool:
        """Whether all choices are equally likely."""
        return self.exponent == 0

    def mean_of_first(self, values: Float64) -> Float64:
        """Return float64 [n + 1]: Σ_{i ≤ m} i^e v_i / Σ_{i ≤ m} i^e for every m = 0 … n (0 at m = 0)."""
        top = np.abs(values).max(initial=1.0)  # the products of a large exponent would overflow without it
        means = values if self.last else np.cumsum(self.powers * (values / top)) / self.cumulative[1:] * top
        return np.concatenate([[0.0], means])


def shortest(number: float) -> str:
    """Write a number in as few digits as read back the same. Whole numbers have no point."""
    return repr(number).removesuffix(".0")


def check_exponent(name: str, value: object) -> float:
    """Return the exponent as a float. Raises InputError for NaN and for a value that is not a number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, inf or -inf, not {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        raise InputError(f"{name} is too large for a floating-point number; use inf or -inf.") from None
    if math.isnan(number):
        raise InputError(f"{name} is NaN; it must be a number, inf or -inf.")
    return number


def log_power(base: Int64, exponent: float) -> Float64:
    """Return ln(base^exponent) up to a constant. For ±inf it is 0 at the largest (smallest) base and else -inf."""
    if math.isinf(exponent):
        chosen = base.max(initial=1) if exponent > 0 else base.min(initial=np.iinfo(np.int64).max)
        return np.where(base == chosen, 0.0, -np.inf)
    with np.errstate(over="ignore"):
        log = exponent * np.log(base)
    if not np.all(np.isfinite(log)):
        raise InputError(f"The exponent {exponent:g} overflows; use inf or -inf (all mass on one choice).")
    return log


def log_choice(number: Int64, size: Int64, exponent: float) -> Float64:
    """Return elementwise ln p(i) of choosing `number` i from {1 … size} with p(i) ∝ i^exponent (steps 2 and 3)."""
    if math.isinf(exponent):
        return np.where(number == (size if exponent > 0 else 1), 0.0, -np.inf)
    table = PowerTable.of(exponent, int(size.max(initial=1)))
    return exponent * np.log(number) - np.log(table.cumulative[size])


def mean_history_length(n_targets: int, gamma: float, max_length: int | None = None) -> Float64:
    """Return the mean history length float64 [n] of every target position 1 … n. Position k has k items before it."""
    before = np.arange(1, n_targets + 1)
    limit = n_targets if max_length is None else max_length
    if gamma == math.inf:
        return np.ones(n_targets)
    if gamma == -math.inf:
        return np.minimum(before, limit).astype(np.float64)
    # A history from start j = 1 … m has m + 1 - j items; the first m - limit starts give `limit` items.
    table = PowerTable.of(gamma, n_targets)
    mean_start = table.mean_of_first(before.astype(np.float64))
    cut = np.maximum(before - limit, 0)
    share = table.cumulative[cut] / table.cumulative[before]
    return np.asarray((limit - before - 1 + mean_start[cut]) * share + before + 1 - mean_start[before])
