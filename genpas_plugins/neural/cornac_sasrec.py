"""cornac's SASRec trained on the pairs of any strategy.

StreamSASRec(genpas={"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0}, seed=7).fit(train_set)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from cornac.models import SASRec
from cornac.models.sasrec import recom_sasrec
from cornac.models.seq_utils.iterators import build_neg_sampler

from genpas_plugins.augment import augment_stream
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.neural.torch_dataset import StreamDataset, left_padded
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.sampling.stream import pair_stream
from genpas_plugins.settings.genpas import GenPASConfig
from genpas_plugins.support.array_types import Float64, Int64
from genpas_plugins.support.override import override


class StreamSASRec(SASRec):
    """SASRec on drawn pairs of cornac's sessions. Its negatives and its loss are unchanged.

    Epoch e is epoch e of the stream. This class cannot continue a training because cornac cannot.

    Parameters
    ----------
    genpas : keys of a `genpas` section (strategy, exponents, pairs_per_epoch, augment) or the name of a strategy
    arguments : SASRec's; `seed` is the stream's too
    """

    def __init__(self, *, genpas: Any = "multi_target", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.genpas = genpas
        self._section = GenPASConfig.from_mapping(genpas, "genpas")
        self._section.require_only("strategy", "alpha", "beta", "gamma", "pairs_per_epoch", "augment")

    @classmethod
    def _get_init_params(cls) -> list[str]:
        """Return the arguments that cornac's `clone` copies."""
        return [*SASRec._get_init_params(), "genpas"]

    def fit(self, train_set: Any, val_set: Any = None) -> StreamSASRec:
        """Train on a `SequentialDataset`."""
        epochs, prepared = itertools.count(), cache(partial(self._prepared, train_set))

        def session_seq_iter(
            train_set: Any, pad_index: int, *, max_len: int, sample_alpha: float, **options: Any
        ) -> Iterator[tuple[Int64, ...]]:
            del train_set
            return prepared(pad_index, max_len, sample_alpha).batches(next(epochs), **options)

        # SASRec.fit calls the function once an epoch, by its name in this module.
        with override(recom_sasrec, session_seq_iter=session_seq_iter):
            super().fit(train_set, val_set)
        return self

    def _prepared(self, train_set: Any, pad_index: int, max_length: int, sample_alpha: float) -> _Prepared:
        users, items, _ = train_set.uir_tuple
        sessions = list(train_set.sessions.values())
        store = SequenceStore.from_arrays(
            items[np.concatenate(sessions)] + 1, np.cumsum([0, *map(len, sessions)]), n_items=pad_index
        )
        section = self._section
        stream = pair_stream(store.view(), section.policy, seed=self.seed or 0, pairs_per_epoch=section.pairs_per_epoch)
        data = StreamDataset(augment_stream(stream, section.augment), max_length)
        owner = np.array([users[rows[0]] for rows in sessions])
        known, chance = build_neg_sampler(train_set.uir_tuple, sample_alpha)
        return _Prepared(stream, data, owner, known, chance, pad_index)


class _Prepared(NamedTuple):
    """The input of all epochs: the pairs, the user of each sequence, and the negatives with their probabilities."""

    stream: PairStream
    data: StreamDataset
    owner: Int64
    known: Int64
    chance: Float64
    pad_index: int

    def batches(self, epoch: int, *, batch_size: int, n_sample: int, rng: Any, **_: Any) -> Iterator[tuple[Int64, ...]]:
        """Yield users [B], left-padded histories [B, L] and targets with negatives [B + n_sample]."""
        self.data.set_epoch(epoch)
        for begin in range(0, len(self.data), batch_size):
            index = np.arange(begin, min(begin + batch_size, len(self.data)))
            batch = {name: part.numpy() for name, part in left_padded(self.data.__getitems__(index.tolist())).items()}
            history = np.where(batch["attention_mask"] > 0, batch["input_ids"] - 1, self.pad_index)
            negatives = rng.choice(self.known, size=n_sample, replace=True, p=self.chance)
            targets = np.concatenate([batch["labels"][:, -1] - 1, negatives])
            yield self.owner[self.stream.pairs(epoch, index).sequence], history, targets
