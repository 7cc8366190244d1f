"""Train SASRec of other libraries by their own loops on their own batches, under a meter.

Each function trains until the meter ends it. Sizes are the same; what is not named here is the library's default.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peer_meter import Meter, Ranking, Split
from genpas_plugins.support.override import override

LENGTH = 50
BATCH = 128
"""Sequences in a batch: RecTools' default. RePlay has none."""
_TRAINER = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "max_epochs": -1,
    "limit_val_batches": 0,
}
"""Lightning's Trainer does nothing else than train."""


@dataclass(frozen=True)
class Network:
    """Sizes of SASRec."""

    dimension: int = 64
    blocks: int = 2
    heads: int = 2
    dropout: float = 0.2


def as_columns(split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return user, item and position of every interaction to train on."""
    lengths = np.array([len(items) for items in split.train])
    positions = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    return np.repeat(np.arange(len(lengths)), lengths), np.concatenate(split.train), positions


def left_padded(histories: list[NDArray[np.int64]], padding: int) -> Any:
    """Return the last items of histories, int64 [n, LENGTH]."""
    import torch

    rows = np.full((len(histories), LENGTH), padding)
    for row, items in zip(rows, histories, strict=True):
        if len(items):
            row[-len(items[-LENGTH:]) :] = items[-LENGTH:]
    return torch.from_numpy(rows)


def evaluating(model: Any, score: Callable[[Any], Any], padding: int) -> Callable[[list[NDArray[np.int64]]], Any]:
    """Return the `score` of a Ranking, with the model out of training and then as it was."""
    import torch

    def score_histories(histories: list[NDArray[np.int64]]) -> Any:
        was = model.training
        model.eval()
        with torch.no_grad():
            scores = score(left_padded(histories, padding)).float().numpy()
        model.train(was)
        return scores

    return score_histories


def rectools(split: Split, network: Network, meter: Meter, **loss: Any) -> None:
    """RecTools' SASRecModel, whose sequences come from a pandas frame."""
    import pandas as pd
    from pytorch_lightning import Trainer
    from rectools.dataset import Dataset
    from rectools.models.nn.transformers.sasrec import SASRecDataPreparator, SASRecModel

    class MeteredPreparator(SASRecDataPreparator):
        def get_dataloader_train(self) -> Any:
            backbone = model.lightning_model.torch_model
            known = np.array(self.item_id_map.external_ids[1:], np.int64)
            number = np.full(split.n_items + 1, -1)
            number[known] = np.arange(1, len(known) + 1)

            def score(histories: Any) -> Any:
                items = backbone.item_model.get_all_embeddings()
                return backbone.encode_sessions({"x": histories}, items)[:, -1] @ items.T

            meter.ranking = Ranking(number, evaluating(backbone, score, 0))
            return meter.watch(super().get_dataloader_train(), lambda batch: int((batch["yw"] > 0).sum()))

    users, items, positions = as_columns(split)
    times = pd.to_datetime(positions, unit="s")
    frame = pd.DataFrame({"user_id": users, "item_id": items, "weight": 1.0, "datetime": times})
    model = SASRecModel(
        n_factors=network.dimension,
        n_blocks=network.blocks,
        n_heads=network.heads,
        dropout_rate=network.dropout,
        session_max_len=LENGTH,
        data_preparator_type=MeteredPreparator,
        get_trainer_func=lambda: Trainer(**_TRAINER),
        **loss,
    )
    model.fit(Dataset.construct(frame))


def rectools_sampled(split: Split, network: Network, meter: Meter) -> None:
    """RecTools' SASRecModel with sampled softmax."""
    rectools(split, network, meter, loss="sampled_softmax", n_negatives=256)


def rectools_flat(split: Split, network: Network, meter: Meter) -> None:
    """RecTools' `fast_transformers`: sequences built by tensor operations. It has no loop of its own for item ids."""
    import torch
    from rectools.fast_transformers import FlatSASRecNet, SequenceBatchDataset, build_sequences
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader

    histories, targets, known, _ = build_sequences(*map(torch.from_numpy, as_columns(split)), max_len=LENGTH)
    model = FlatSASRecNet(len(known), network.dimension, network.blocks, network.heads, LENGTH, network.dropout)
    number = np.full(split.n_items + 1, -1)
    number[known.numpy()] = np.arange(1, len(known) + 1)
    score = evaluating(model, lambda histories: model.encode_last(histories) @ model.item_emb.weight.T, 0)
    meter.ranking = Ranking(number, score)
    loader = DataLoader(SequenceBatchDataset(histories, targets), batch_size=BATCH, shuffle=True)
    batches = meter.watch(loader, lambda batch: int((batch["y"] > 0).sum()))
    optimizer = torch.optim.Adam(model.parameters())
    while True:
        for batch in batches:
            optimizer.zero_grad()
            logits = model(batch)
            # As its UniSRecLightning: all positions are scored, and padding has no loss.
            cross_entropy(logits.flatten(0, 1), batch["y"].flatten() - 1, ignore_index=-1).backward()
            optimizer.step()


def replay(split: Split, network: Network, meter: Meter) -> None:
    """RePlay's SasRec on its ParquetModule."""
    import pandas as pd
    from lightning import Trainer
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
    from replay.data.nn.parquet import ParquetModule
    from replay.nn.lightning import LightningModule
    from replay.nn.sequential.sasrec import SasRec
    from replay.nn.transform.template import make_default_sasrec_transforms

    padding = split.n_items
    schema = TensorSchema(
        TensorFeatureInfo(
            "item_id",
            FeatureType.CATEGORICAL,
            True,
            FeatureHint.ITEM_ID,
            [TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
            cardinality=padding,
            padding_value=padding,
            embedding_dim=network.dimension,
        )
    )

    class MeteredModule(ParquetModule):
        def train_dataloader(self) -> Any:
            # Its transform makes targets of the items after the first.
            return meter.watch(super().train_dataloader(), lambda batch: int(batch["item_id_mask"][:, 1:].sum()))

    model = SasRec.from_params(schema, network.dimension, network.heads, network.blocks, LENGTH, network.dropout)

    def score(histories: Any) -> Any:
        return model(feature_tensors={"item_id": histories}, padding_mask=histories != padding)["logits"]

    meter.ranking = Ranking(np.arange(-1, split.n_items), evaluating(model, score, padding))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/train.parquet"
        pd.DataFrame({"item_id": [items - 1 for items in split.train]}).to_parquet(path)
        data = MeteredModule(
            batch_size=BATCH,
            metadata={"train": {"item_id": {"shape": LENGTH + 1, "padding": padding}}},
            transforms=make_default_sasrec_transforms(schema),
            train_path=path,
        )
        Trainer(**_TRAINER).fit(LightningModule(model), data)


def cornac(split: Split, network: Network, meter: Meter) -> None:
    """Train SASRec of cornac, which trains single targets against sampled items."""
    from cornac.data import SequentialDataset
    from cornac.models import SASRec
    from cornac.models.sasrec import recom_sasrec

    rows = [
        (str(user), str(user), item, time)
        for user, item, time in zip(*(c.tolist() for c in as_columns(split)), strict=True)
    ]
    data = SequentialDataset.build(rows, fmt="USIT", seed=1)
    number = np.full(split.n_items + 1, -1)
    number[list(data.iid_map)] = list(data.iid_map.values())
    own = recom_sasrec.session_seq_iter

    def session_seq_iter(*arguments: Any, **options: Any) -> Any:
        def score(histories: Any) -> Any:
            return sasrec.model._encode(histories) @ sasrec.model.item_emb.weight.T

        meter.ranking = Ranking(number, evaluating(sasrec.model, score, sasrec.pad_idx))
        return iter(meter.watch(own(*arguments, **options), lambda batch: len(batch[1])))

    sasrec = SASRec(
        embedding_dim=network.dimension,
        num_blocks=network.blocks,
        num_heads=network.heads,
        dropout=network.dropout,
        max_len=LENGTH,
        n_epochs=10**6,
        seed=1,
    )
    with override(recom_sasrec, session_seq_iter=session_seq_iter):
        sasrec.fit(data)
