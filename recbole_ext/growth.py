"""Training that goes on from a checkpoint with more data: `warm_start` and `replay` of the `genpas:` section.

A checkpoint remembers the ids of its items and users, how many items of each user it trained on, and how often each
item was a target. Ids, not numbers, connect two trainings: RecBole numbers items anew.

**Rule for new rows.** A table of items has the trained row of each known item. A new item has the mean of the trained
rows plus normal noise of a hundredth of their standard deviation, drawn from the run's seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.target_distribution import target_distribution
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.mixture import part_sizes
from genpas_plugins.sampling.new_targets import NewTargets
from genpas_plugins.sampling.replay import ReplayStream
from genpas_plugins.sampling.stream import pair_stream
from genpas_plugins.support.array_types import Float64, Int64
from genpas_plugins.support.errors import InputError
from recbole_ext import checkpoints
from recbole_ext.genpas_key import genpas_config

NOISE = 0.01
"""Standard deviation of a new row around the mean row, relative to the trained rows."""
_KEYS = ("item_ids", "user_ids", "lengths", "targets")


class Earlier(NamedTuple):
    """An earlier training, with the numbers of the present data set."""

    items: Int64
    """int64 [items]. The present number of each earlier item number; 0: absent, and for padding."""
    lengths: Int64
    """int64 [n_sequences]. How many items of each present sequence the earlier training read."""
    targets: Float64
    """float64 [n_items + 1]. How often each present item was a target of the earlier training."""
    weights: dict[str, Tensor]
    """The earlier state_dict."""


def remember(train_data: Any) -> None:
    """Keep what a later training must know on the Config, from which `checkpoints.save` takes it."""
    dataset, view = train_data._dataset, train_data.stream.view
    ids = {name: checkpoints.packed_ids(dataset.field2id_token[field]) for name, field in _fields(dataset)}
    lengths = torch.from_numpy(view.lengths()[: dataset.user_num].astype(np.int32))
    targets = torch.from_numpy(distribution(train_data).astype(np.float32))
    train_data.config.trained_data = {**ids, "lengths": lengths, "targets": targets}


def distribution(train_data: Any) -> Float64:
    """Return how often each item is a target of a loader's pairs, exactly, float64 [n_items + 1]."""
    policy, replay = genpas_config(train_data.config).policy, train_data.replay  # type: ignore[union-attr]  # it has one
    if replay is None:
        return target_distribution(train_data.stream.view, policy)
    old = target_distribution(replay.old.view, policy)
    return np.asarray((1 - replay.old_share) * replay.new.target_distribution() + replay.old_share * old)


def expected_history_length(train_data: Any, max_length: int) -> float:
    """Return the mean number of items in the histories of a loader's pairs, exactly, cut to `max_length`."""
    policy, replay = genpas_config(train_data.config).policy, train_data.replay  # type: ignore[union-attr]  # it has one
    if replay is None:
        return policy.expected_history_length(train_data.stream.view, max_length)
    old = policy.expected_history_length(replay.old.view, max_length)
    new = replay.new.expected_history_length(max_length)
    return float((1 - replay.old_share) * new + replay.old_share * old)


def earlier(file: str | Path, dataset: Any) -> Earlier:
    """Read a checkpoint to go on from. Raises InputError if it does not name its items."""
    content = checkpoints.load(file, map_location="cpu")
    known = content.get("trained_data")
    if not isinstance(known, dict) or any(not isinstance(known.get(key), Tensor) for key in _KEYS):
        raise InputError(
            f"{file} does not name the items it was trained on, so that its rows cannot be found again. Train it anew "
            "with a genpas key and this version."
        )
    items, users = (
        _places(checkpoints.unpacked_ids(known[name]), dataset.field2token_id[field])
        for name, field in _fields(dataset)
    )
    n_items = dataset.item_num - 1
    if len(items) != len(known["targets"]) or len(users) != len(known["lengths"]):
        raise InputError(f"{file} is damaged: its ids and counts are of different numbers. Take another checkpoint.")
    lengths, targets = np.zeros(dataset.store.n_sequences, np.int64), np.zeros(n_items + 1)
    lengths[users[users > 0]] = known["lengths"].numpy()[users > 0]
    targets[items[items > 0]] = known["targets"].numpy()[items > 0]
    return Earlier(items, np.clip(lengths, 0, dataset.store.lengths()), targets, content["state_dict"])


def start_from(file: str | Path, model: nn.Module, dataset: Any, seed: int) -> None:
    """Load the weights of a checkpoint into a model of the present data.

    Raises InputError for a weight of another shape that is no table of items.
    """
    before = earlier(file, dataset)
    state, n_before, n_items = model.state_dict(), len(before.items), dataset.item_num
    for name, own in state.items():
        old = before.weights.get(name)
        is_table = old is not None and "item" in name and len(old) == n_before and len(own) == n_items
        if old is None or (not is_table and old.shape != own.shape) or old.shape[1:] != own.shape[1:]:
            shape = "absent" if old is None else f"of shape {list(old.shape)}"
            raise InputError(
                f"warm_start: {name} is {shape} in {file}, and {list(own.shape)} in this model. Use the settings of "
                "the earlier model; only tables of items can grow."
            )
        state[name] = _grown(old, own, before.items, seed) if is_table else old
    model.load_state_dict(state)


def growth_report(section: Any, train_data: Any) -> dict[str, Any]:
    """Return facts about a training that goes on; `kl_from_before` is KL(earlier ‖ present targets) in nats."""
    before = earlier(section.warm_start, train_data._dataset)
    kept = int(np.count_nonzero(before.items))
    was = before.targets / max(before.targets.sum(), np.finfo(float).tiny)
    return {
        "warm_start": str(section.warm_start),
        "items_kept": kept,
        "items_new": train_data._dataset.item_num - 1 - kept,
        "items_gone": len(before.items) - 1 - kept,
        "replay": section.replay,
        "kl_from_before": kl_divergence(was, distribution(train_data)),
    }


def replay_stream(dataset: Any, view: SequenceView, section: Any, seed: int) -> ReplayStream:
    """Return the stream of a section with `replay`, by the policy of the section.

    The targets of new examples are items that the earlier training did not read. Old examples are pairs of the items
    that it read. Without `pairs_per_epoch` an epoch has as many new examples as there are new targets.

    Raises InputError if no target is new, or the earlier training has no pair in these data.
    """
    lengths = view.lengths()
    old = np.minimum(earlier(section.warm_start, dataset).lengths, lengths)
    n_targets = int(np.maximum(lengths - np.maximum(old, 1), 0).sum())
    if not n_targets:
        raise InputError(f"replay: no user has more training items than {section.warm_start} had. Remove replay.")
    total = section.pairs_per_epoch or max(1, int(n_targets / (1 - section.replay)))
    n_old, n_new = part_sizes(total, (section.replay, 1 - section.replay))
    new = NewTargets(view, section.policy, old, seed=seed, pairs_per_epoch=max(1, n_new))
    earlier_view = view.store.view(lengths=old)
    olds = pair_stream(earlier_view, section.policy, seed=seed, pairs_per_epoch=max(1, n_old))
    return ReplayStream(new, olds, section.replay, total)


def _grown(old: Tensor, own: Tensor, items: Int64, seed: int) -> Tensor:
    trained = old[1:].float()
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(own.shape, generator=random) * (NOISE * trained.std(0, unbiased=False))
    rows = (trained.mean(0) + noise).to(own.dtype)
    rows[0] = old[0]
    known = np.flatnonzero(items)
    rows[torch.from_numpy(items[known])] = old[torch.from_numpy(known)].to(own.dtype)
    return rows


def _fields(dataset: Any) -> tuple[tuple[str, str], ...]:
    return ("item_ids", dataset.iid_field), ("user_ids", dataset.uid_field)


def _places(ids: list[str], numbers: dict[str, int]) -> Int64:
    places = np.array([numbers.get(token, 0) for token in ids], np.int64)
    places[0] = 0  # padding
    return places
