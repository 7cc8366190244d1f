"""RePlay and cornac: their own loaders have the pairs of our rows, and their SASRec trains on a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.analysis.frameworks import FRAMEWORKS
from genpas_plugins.sampling.policy import named_policy
from genpas_plugins.sampling.stream import pair_stream, window_stream

torch = pytest.importorskip("torch")
from genpas_plugins.neural.torch_dataset import StreamDataset  # noqa: E402

L, N = 5, 20
Pair = tuple[tuple[int, ...], int]


@pytest.fixture(scope="module")
def store() -> SequenceStore:
    random = np.random.default_rng(2)
    lengths = random.integers(2, 15, 12)
    items = random.permutation(np.arange(lengths.sum()) % N) + 1
    return SequenceStore.from_arrays(items, np.cumsum([0, *lengths]), n_items=N)


def sequences(store: SequenceStore) -> list[list[int]]:
    return [part.tolist() for part in np.split(store.values, store.offsets[1:-1])]


def pairs_of(store: SequenceStore, strategy: str, epochs: Iterable[int] = (0,)) -> list[Pair]:
    """Every pair of some epochs, with histories of at most L items, as RePlay and cornac number items: from 0."""
    stream, pairs = pair_stream(store.view(), named_policy(strategy), seed=3), []
    for epoch in epochs:
        histories, targets, _, _ = stream.batch(epoch, np.arange(stream.size), L)
        items, offsets = histories.jagged()
        for a, b, target in zip(offsets, offsets[1:], store.values[targets.rows].tolist(), strict=False):
            pairs.append((tuple((items[a:b] - 1).tolist()), target - 1))
    return sorted(pairs)


def positions(items: list[int], known: list[bool], labels: list[int], trained: list[bool]) -> list[Pair]:
    """The pairs of a row of RePlay."""
    return [
        (tuple(item for item, there in zip(items[: k + 1], known, strict=False) if there), labels[k])
        for k in range(len(items))
        if trained[k]
    ]


def test_replays_own_loader_has_the_pairs_of_our_rows(store: SequenceStore):
    pytest.importorskip("replay.models.nn.sequential.sasrec", exc_type=ImportError)
    import pandas as pd
    from replay.data.nn import PandasSequentialDataset
    from replay.models.nn.sequential.sasrec import SasRecTrainingDataset

    schema = replay_schema()
    frame = pd.DataFrame({"user_id": range(12), "item_id": [np.array(s) - 1 for s in sequences(store)]})
    for key, step in (("replay", None), ("replay_windows", 2)):
        rows = SasRecTrainingDataset(
            PandasSequentialDataset(schema, "user_id", "item_id", frame), L, sliding_window_step=step
        )
        theirs = []
        for row in rows:
            parts = (
                row["feature_tensor"]["item_id"], row["padding_mask"],
                row["positive_labels"].flatten(), row["target_padding_mask"].flatten(),
            )  # fmt: skip
            theirs += positions(*(part.tolist() for part in parts))
        name, *numbers = FRAMEWORKS[key].strategy.split(":")
        ours = f"{name}:length={L}" if step is None else f"{name}:width={L + 1}:stride={step}"
        assert len(numbers) == ours.count(":")
        # A sequence shorter than a window has padding, after which RePlay trains its first item too.
        after_padding = [((), items[0] - 1) for items in sequences(store) if len(items) <= L]
        assert after_padding
        assert sorted(theirs) == sorted([*pairs_of(store, ours), *after_padding])


def replay_schema() -> Any:
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema

    return TensorSchema(
        TensorFeatureInfo(
            "item_id",
            FeatureType.CATEGORICAL,
            True,
            FeatureHint.ITEM_ID,
            [TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
            cardinality=N,
            padding_value=N,
            embedding_dim=8,
        )
    )


def test_replays_sasrec_trains_on_the_windows(store: SequenceStore):
    pytest.importorskip("replay.nn.sequential.sasrec", exc_type=ImportError)
    lightning = pytest.importorskip("lightning")
    from replay.nn.lightning import LightningModule
    from replay.nn.loss import CEWeighted
    from replay.nn.sequential.sasrec import SasRec

    from genpas_plugins.neural.replay_batch import WEIGHTS, ReplayBatch

    stream = window_stream(store.view(), named_policy("slide_window"), max_length=L, seed=3)
    data, seen = StreamDataset(stream, L), []
    model = SasRec.from_params(replay_schema(), 8, 1, 1, L, 0.0)
    model.loss = CEWeighted(WEIGHTS, ignore_index=N)
    model.loss.logits_callback = model.get_logits
    own = model.forward_train

    def forward_train(**batch: Any) -> Any:
        seen.append(batch)
        return own(**batch)

    model.forward_train = forward_train
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    trainer.fit(LightningModule(model), data.loader(8, collate_fn=ReplayBatch(N)))
    assert len(seen) == 2 * -(-len(data) // 8)
    trained: dict[Pair, float] = {}
    for batch in seen[: len(seen) // 2]:
        parts = (batch["feature_tensors"]["item_id"], batch["padding_mask"], batch["positive_labels"][..., 0],
                 batch["target_padding_mask"][..., 0])  # fmt: skip
        for *row, weights in zip(*(p.tolist() for p in parts), batch["feature_tensors"][WEIGHTS].tolist(), strict=True):
            chosen = [w for w in weights if w > 0]
            for pair, weight in zip(positions(*row), chosen, strict=True):
                trained[pair] = trained.get(pair, 0) + weight
    every = pairs_of(store, "slide_window")
    share = sum(trained.values()) / len(every)
    assert trained == pytest.approx({pair: every.count(pair) * share for pair in every}, rel=1e-5)


def cornac_set(store: SequenceStore) -> Any:
    from cornac.data import SequentialDataset

    rows = [(f"u{u}", f"s{u}", item, t) for u, s in enumerate(sequences(store)) for t, item in enumerate(s)]
    return SequentialDataset.build(rows, fmt="USIT", seed=1)


def of_cornac(train: Any, batches: Iterable[Any], n_sample: int) -> list[Pair]:
    """The pairs of cornac's batches, in the store's numbers from 0."""
    number = {index: item - 1 for item, index in train.iid_map.items()}
    pairs = []
    for _, histories, targets in batches:
        for row, target in zip(histories.tolist(), targets[: len(targets) - n_sample].tolist(), strict=True):
            pairs.append((tuple(number[i] for i in row if i < N), number[target]))
    return sorted(pairs)


def test_cornacs_own_loader_has_the_pairs_of_our_row(store: SequenceStore):
    pytest.importorskip("cornac")
    from cornac.models.seq_utils import padded_session_iter, session_seq_iter

    train = cornac_set(store)
    theirs = of_cornac(train, session_seq_iter(train, N, 7, L, n_sample=0), 0)
    assert FRAMEWORKS["cornac"].strategy == "multi_target"
    assert theirs == pairs_of(store, "multi_target")
    # TransformerRec takes the last items of a session; its causal objective trains each after the first.
    rows = np.concatenate([sequences for _, sequences in padded_session_iter(train, N, 7, L + 1)])
    causal = [([0], row[:k], row[k : k + 1]) for row in rows for k in range(1, L + 1) if row[k - 1] < N]
    causal = [(u, history[None], target) for u, history, target in causal]
    assert FRAMEWORKS["cornac_transformer"].strategy.startswith("last_items")
    assert of_cornac(train, causal, 0) == pairs_of(store, f"last_items:length={L}")


def test_cornacs_sasrec_trains_on_the_pairs_of_each_epoch(store: SequenceStore, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("cornac")
    from cornac.models.sasrec import sasrec

    from genpas_plugins.neural.cornac_sasrec import StreamSASRec

    train, seen = cornac_set(store), []
    own = sasrec.SASRecModel.forward

    def forward(model: Any, users: Any, histories: Any, targets: Any) -> Any:
        seen.append((users, histories.numpy(), targets.numpy()))
        return own(model, users, histories, targets)

    monkeypatch.setattr(sasrec.SASRecModel, "forward", forward)
    small = {
        "embedding_dim": 8,
        "n_epochs": 2,
        "max_len": L,
        "num_blocks": 1,
        "n_sample": 4,
        "batch_size": 8,
        "seed": 3,
    }
    model = StreamSASRec(genpas={"strategy": "slide_window", "pairs_per_epoch": 40}, **small)
    model.clone().fit(train)
    stream = pair_stream(store.view(), named_policy("slide_window"), seed=3, pairs_per_epoch=40)
    expected = []
    for epoch in range(2):
        histories, targets, _, _ = stream.batch(epoch, np.arange(40), L)
        items, offsets = histories.jagged()
        cut = zip(offsets[:-1], offsets[1:], store.values[targets.rows].tolist(), strict=True)
        expected += [(tuple((items[a:b] - 1).tolist()), target - 1) for a, b, target in cut]
    assert of_cornac(train, seen, 4) == sorted(expected)
    with pytest.raises(InputError, match="targets is not read here"):
        StreamSASRec(genpas={"strategy": "multi_target", "targets": "parallel"})
