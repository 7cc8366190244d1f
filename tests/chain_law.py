"""The law of the chains of windows by plain recursion, and windows with a weight for each item."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from genpas_plugins import SamplingPolicy, SequenceView
from genpas_plugins.sampling.windows import TargetWindows

Segment = tuple[int, int, int, int]
"""Sequence, start from 0, and the first and last target from 0 that are trained from this start."""


def segments(view: SequenceView, policy: SamplingPolicy, max_length: int) -> dict[Segment, float]:
    """Return the expected number of each segment in an example."""
    lengths = view.lengths().tolist()
    users = [s for s, n in enumerate(lengths) if n > 1]
    of_sequence = choice([lengths[s] - 1 for s in users], policy.alpha)
    rates: dict[Segment, float] = defaultdict(float)
    visits = 0.0
    for s, p in zip(users, of_sequence, strict=True):
        of_target = choice(list(range(1, lengths[s])), policy.beta)
        for low in range(1, lengths[s], max_length):
            block = list(range(low, min(low + max_length, lengths[s])))
            largest = max(of_target[k - 1] for k in block)
            visits += p * largest
            for trained, share in _ranges(block, [of_target[k - 1] for k in block]):
                for (start, first, last), q in _chain(trained, policy.gamma):
                    rates[s, start, first, last] += p * share * q
    return {segment: rate / visits for segment, rate in rates.items() if rate > 0}


def dense_weights(windows: TargetWindows) -> np.ndarray:
    """Return the weight of each item after the first of each window, float32 [n, longest]; 0 where none is trained."""
    (_, start, last), first, weights, _ = windows
    place = start[:, None] + 1 + np.arange((last - start).max(initial=1))
    dense = np.zeros(place.shape, np.float32)
    dense[(place >= first[:, None]) & (place <= last[:, None])] = weights
    return dense


def _ranges(block: list[int], weights: list[float]) -> Iterator[tuple[list[int], float]]:
    """Yield the targets above each threshold with the share of the thresholds, which run to the largest weight."""
    below = 0.0
    for level in sorted({weight for weight in weights if weight > 0}):
        yield [k for k, weight in zip(block, weights, strict=True) if weight >= level], level - below
        below = level


def _chain(trained: list[int], gamma: float) -> Iterator[tuple[tuple[int, int, int], float]]:
    """Yield the segments of a chain over these neighbouring targets with their probabilities."""
    arrives = defaultdict(float, {trained[-1]: 1.0})
    for target in reversed(trained):
        for start, q in enumerate(choice(list(range(1, target + 1)), gamma), 1):
            yield (start - 1, max(start, trained[0]), target), arrives[target] * q
            arrives[start - 1] += arrives[target] * q


def choice(numbers: list[int], exponent: float) -> list[float]:
    """Return the probability of each number in proportion to its power; infinite exponents choose one."""
    if math.isinf(exponent):
        best = max(numbers) if exponent > 0 else min(numbers)
        weights = [float(number == best) for number in numbers]
    else:
        weights = [float(number) ** exponent for number in numbers]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
