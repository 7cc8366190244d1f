"""How often each item is the target of a training pair: exact and in one pass over the interactions."""

from __future__ import annotations

import numpy as np

from genpas_plugins.analysis.target_positions import TargetWeights, occurrences, row_chunks, sum_over_rows
from genpas_plugins.data.sequences import PAIR_ITEMS, SequenceView
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.constructions import Construction
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.mixture import Mixture
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.support.array_types import Float64

_COMPILED = "genpas_plugins.analysis.pass_kernels"


def target_distribution(
    view: SequenceView, policy: Policy, *, threads: int | None = None, backend: str | None = None
) -> Float64:
    """Return the probability p(y) = Σ_s p_α(s) Σ_{k: s_k = y} p_β(k | s) that an item is a target.

    One streaming pass over the interactions; memory is the result and one chunk a thread.

    Parameters
    ----------
    view, policy : the data, and the distribution of its training pairs
    threads : number of threads, which changes only the rounding. None: one a core, fewer for little data.
    backend : "numpy" or "numba". None: see `choose_backend`.

    Returns
    -------
    float64 [n_items + 1]
        By item number; 0 for padding.

    Raises
    ------
    InputError
        If no sequence has two items.
    """
    return target_mass(view, policy, threads=threads, backend=backend)


def target_mass(
    view: SequenceView,
    policy: Policy,
    rows: slice = slice(None),
    *,
    threads: int | None = None,
    backend: str | None = None,
) -> Float64:
    """Return the part `float64 [n_items + 1]` of `target_distribution` from some rows of the store.

    Parts of slices that cover all rows add up to the target distribution.
    """
    if isinstance(policy, SamplingPolicy):
        return sum_by_target(view, TargetWeights.of(view, policy), rows, threads=threads, backend=backend)
    if isinstance(policy, Mixture):
        parts = [w * target_mass(view, part, rows, threads=threads, backend=backend) for w, part in policy.parts]
        return np.asarray(np.sum(parts, axis=0))
    construction = policy.construction
    assert construction is not None
    view.require_content()
    return sum_over_rows(view, lambda part: _constructed_mass(view, construction, part), rows, threads)


def _constructed_mass(view: SequenceView, construction: Construction, rows: slice) -> Float64:
    """Return p(s) p(t | s) summed over the targets of the rows by item as `float64 [n_items + 1]`."""
    mass, groups = np.zeros(view.store.n_items + 1), view.groups
    per_sequence = construction.sequence_mass(view) / groups.size
    for chunk in row_chunks(view, rows):
        length = view.lengths(chunk)
        kept = length >= PAIR_ITEMS
        length, first = length[kept], view.store.offsets[:-1][chunk][kept]
        weight = np.repeat(per_sequence[np.searchsorted(groups.length, length)], length)
        weight *= construction.target_probability(np.repeat(length, length), spans(0, length))
        mass += np.bincount(view.store.values[spans(first, length)], weight, minlength=len(mass))
    return mass


def sum_by_target(
    view: SequenceView,
    weights: TargetWeights,
    rows: slice = slice(None),
    *,
    threads: int | None = None,
    backend: str | None = None,
) -> Float64:
    """Return Σ scale[n] · power[t] over the targets of the rows by item as `float64 [n_items + 1]`.

    The weights of a policy give its target mass. Other tables give derivatives.
    """
    add = implementation(add_weights, choose_backend(backend), _COMPILED)

    def part(rows: slice) -> Float64:
        mass = np.zeros(view.store.n_items + 1)
        for chunk in row_chunks(view, rows):
            add(view, weights, chunk, mass)
        return mass

    return sum_over_rows(view, part, rows, threads)


def inverse_mass(mass: Float64) -> Float64:
    """Return 1 / p(y) `float64 [n_items + 1]` or 0 for an item that is a target less often than 1e-300."""
    return np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 1e-300)  # noqa: PLR2004 – 1 / 1e-309 overflows


def add_weights(view: SequenceView, weights: TargetWeights, rows: slice, mass: Float64) -> None:
    """Add scale[n] · power[t] of every target of the rows to its item's entry of `mass` `float64 [n_items + 1]`."""
    found = occurrences(view, rows, last=weights.last)
    weight = weights.scale[found.length] * weights.power[found.position]
    mass += np.bincount(view.store.values[found.place], weight, minlength=len(mass))


def last_target_distribution(view: SequenceView) -> Float64:
    """Return the share of sequences that end in each item: the targets of an evaluation view.

    Parameters
    ----------
    view : the sequences; one of fewer than two items has no history and does not count

    Returns
    -------
    float64 [n_items + 1]
        By item number; 0 for padding.

    Raises
    ------
    InputError
        If no sequence has two items.
    """
    return target_distribution(view, SamplingPolicy.named("last_target"))
