"""Make the store's stream, and RecBole's SASRec without RecBole's data, for the TorchRec measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.sampler import POLICIES
from benchmarks.sizes import Shape
from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream

MAX_LENGTH = 50
SASREC = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "NEG_PREFIX": "neg_",
    "MAX_ITEM_LIST_LENGTH": MAX_LENGTH,
    "device": "cpu",
    "n_layers": 2,
    "n_heads": 2,
    "hidden_size": 64,
    "inner_size": 256,
    "hidden_dropout_prob": 0.5,
    "attn_dropout_prob": 0.5,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "loss_type": "CE",
}
"""RecBole's defaults, written out."""


@dataclass(frozen=True)
class TorchRecSizes:
    """How much is measured."""

    shape: Shape
    """The synthetic store that replaces Beauty if it is not given."""
    policies: tuple[str, ...]
    """Names of `sampler.POLICIES`."""
    batch: int
    """Pairs of a training step."""
    input_batches: tuple[int, ...]
    """Pairs of a batch where the input alone is measured."""
    input_pairs: int
    """Pairs in one repeat of it."""
    input_repeats: int
    waiting_steps: int
    """Training steps of SASRec in one repeat of a way to read the input, after those that warm it up."""
    short_steps: int
    """Short steps in one repeat."""
    waiting_repeats: int
    steps: int
    """Training steps in one repeat of a way to shard."""
    step_repeats: int
    device_batch: int


FULL = TorchRecSizes(
    shape=Shape(22_363, 12_101, 198_502),
    policies=tuple(POLICIES),
    batch=512,
    input_batches=(512, 4096),
    input_pairs=1 << 17,
    input_repeats=7,
    waiting_steps=6,
    short_steps=100,
    waiting_repeats=3,
    steps=3,
    step_repeats=5,
    device_batch=1 << 16,
)
QUICK = TorchRecSizes(
    shape=Shape(200, 300, 8_000),
    policies=("sampled 1,0,0",),
    batch=16,
    input_batches=(64,),
    input_pairs=128,
    input_repeats=1,
    waiting_steps=2,
    short_steps=2,
    waiting_repeats=1,
    steps=1,
    step_repeats=1,
    device_batch=64,
)


def batches(path: str, policy: SamplingPolicy, batch_size: int, **options: Any) -> Any:
    """Return the GenPASStream of a store's training view; options `backend`, `rank` and `world_size`."""
    from torchrec_ext.stream import GenPASStream

    backend = options.pop("backend", None)
    view = SequenceStore.open(path).leave_last_out().train
    pairs = pair_stream(view, policy, seed=7, backend=backend)
    # Epochs as long as no measurement: a whole number of steps, none of them short.
    pairs = pair_stream(view, policy, seed=7, backend=backend, pairs_per_epoch=max(pairs.pairs_per_epoch, 1 << 22))
    return GenPASStream(pairs, batch_size=batch_size, max_length=MAX_LENGTH, drop_last=True, **options)


def recommender(n_rows: int) -> Any:
    """Return RecBole's SASRec for a table of n_rows, the same weights each time."""
    import torch
    from recbole.model.sequential_recommender.sasrec import SASRec

    class Catalogue:
        """What the model asks its data for."""

        def num(self, field: str) -> int:
            return n_rows

    torch.manual_seed(1)
    return SASRec(SASREC, Catalogue()).train()
