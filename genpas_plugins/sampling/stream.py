"""From a view and a policy to the stream of its pairs or windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.chained_windows import ChainedWindows
from genpas_plugins.sampling.constructed_draws import ConstructedPairs
from genpas_plugins.sampling.constructions import Construction
from genpas_plugins.sampling.enumerated_windows import EnumeratedWindows
from genpas_plugins.sampling.enumeration import PairEnumeration
from genpas_plugins.sampling.mixture import MixedPairs, MixedWindows, Mixture
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.sampling.sampler import PairSampler, check_pairs_per_epoch
from genpas_plugins.sampling.windows import WindowStream
from genpas_plugins.support.errors import InputError


def pair_stream(
    view: SequenceView,
    policy: Policy,
    *,
    seed: int,
    pairs_per_epoch: int | None = None,
    backend: str | None = None,
) -> PairStream:
    """Return the stream of the pairs of `policy`.

    Parameters
    ----------
    view : the sequences
    policy : a named strategy makes a `PairEnumeration` or `ConstructedPairs` if drawn; exponents make a
        `PairSampler` and a mixture `MixedPairs`
    seed : int in [0, 2⁶⁴)
    pairs_per_epoch : length of an epoch; None: one pass of an enumerated strategy or `view.n_pairs` when sampled or
        mixed
    backend : "numpy" or "numba"; None: see `choose_backend`

    Returns
    -------
    PairStream
        A stream whose example i of epoch e is a pure function of (seed, e, i).

    Raises
    ------
    InputError
        If no sequence has two items. If an argument is of a wrong type or out of range.

    Examples
    --------
    >>> from genpas_plugins import SamplingPolicy, SequenceStore
    >>> store = SequenceStore.from_arrays([1, 2, 3, 4, 5], [0, 5])
    >>> stream = pair_stream(store.leave_last_out().train, SamplingPolicy.named("multi_target"), seed=7)
    >>> sorted(stream.pairs(epoch=0, indices=[0, 1]).target.tolist())
    [1, 2]
    """
    _check(view, policy)
    if isinstance(policy, Mixture):
        size = _epoch(view, pairs_per_epoch)
        parts = enumerate(zip(policy.policies, policy.sizes(size), strict=True))
        streams = [
            pair_stream(view, part, seed=policy.seed_of(seed, k), pairs_per_epoch=count, backend=backend)
            for k, (part, count) in parts
        ]
        return MixedPairs(streams, policy, size)
    if isinstance(policy, SamplingPolicy) and policy.construction is None:
        return PairSampler(view, policy, seed, pairs_per_epoch, backend)
    if policy.construction is not None and policy.construction.drawn:
        return ConstructedPairs(view, policy.construction, seed, pairs_per_epoch, backend)
    return PairEnumeration(view, policy.strategy, seed, pairs_per_epoch, backend)


def window_stream(
    view: SequenceView,
    policy: Policy,
    *,
    max_length: int,
    seed: int,
    pairs_per_epoch: int | None = None,
    backend: str | None = None,
) -> WindowStream | MixedWindows:
    """Return the stream of the windows of `policy`: see `WindowStream` for the arguments.

    Examples
    --------
    >>> from genpas_plugins import SamplingPolicy, SequenceStore
    >>> view = SequenceStore.from_arrays([1, 2, 3, 4, 5], [0, 5]).view()
    >>> stream = window_stream(view, SamplingPolicy.named("multi_target"), max_length=3, seed=7)
    >>> stream.size, stream.targets_per_example
    (2, 2.0)
    >>> sorted(zip(*(part.tolist() for part in stream.windows(epoch=0, indices=[0, 1]).pairs)))
    [(0, 0, 3), (0, 1, 4)]
    """
    _check(view, policy)
    if isinstance(policy, Mixture):
        more: dict[str, Any] = {"max_length": max_length, "backend": backend}
        seeds = [policy.seed_of(seed, k) for k in range(len(policy.policies))]
        of_parts = [window_stream(view, part, seed=seed, **more).targets_per_example for part in policy.policies]
        per_example = float(np.dot(policy.weights, of_parts))
        targets = _epoch(view, pairs_per_epoch)
        size = max(1, round(targets / per_example))
        counts = [max(1, round(n * each)) for n, each in zip(policy.sizes(size), of_parts, strict=True)]
        streams: list[Any] = [
            window_stream(view, part, seed=own, pairs_per_epoch=count, **more)
            for part, own, count in zip(policy.policies, seeds, counts, strict=True)
        ]
        return MixedWindows(streams, policy, targets, per_example, size)
    kind = ChainedWindows if policy.construction is None else EnumeratedWindows
    return kind(view, policy, max_length=max_length, seed=seed, pairs_per_epoch=pairs_per_epoch, backend=backend)


def _epoch(view: SequenceView, pairs_per_epoch: int | None) -> int:
    view.require_pairs()
    return view.n_pairs if pairs_per_epoch is None else check_pairs_per_epoch(pairs_per_epoch)


def _check(view: SequenceView, policy: Policy) -> None:
    if not isinstance(view, SequenceView):
        raise InputError(
            f"A stream draws from a view, such as store.leave_last_out().train, not from a {type(view).__name__}."
        )
    if not isinstance(policy, SamplingPolicy | Construction | Mixture):
        raise InputError(
            f"policy must be a SamplingPolicy, such as SamplingPolicy.named('multi_target'), not {policy!r}."
        )
