"""A stream as torch's data set, read by a plain loader and by the trainers of other frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.sampling.policy import named_policy
from genpas_plugins.sampling.stream import pair_stream, window_stream

torch = pytest.importorskip("torch")
from genpas_plugins.neural.torch_dataset import IGNORED, StreamDataset, collated, weighted_loss  # noqa: E402

L, N = 6, 31


@pytest.fixture(scope="module")
def store() -> SequenceStore:
    random = np.random.default_rng(5)
    lengths = random.integers(3, 20, 25)
    return SequenceStore.from_arrays(random.integers(1, N, lengths.sum()), np.cumsum([0, *lengths]), n_items=N - 1)


def stream_of(store: SequenceStore, unit: str) -> Any:
    if unit == "pairs":
        return pair_stream(store.view(), SamplingPolicy(1, 0, 0), seed=3)
    return window_stream(store.view(), named_policy("last_items:length=9"), max_length=L, seed=3)


def told(batch: Any) -> list[tuple[list[int], list[int], list[float]]]:
    return list(zip(*(batch[name].tolist() for name in ("input_ids", "labels", "weights")), strict=True))


class Model(torch.nn.Module):
    """A bag of items; keeps what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.out, self.seen = torch.nn.Embedding(N, 8), torch.nn.Linear(8, N), []

    def forward(self, input_ids: Any, attention_mask: Any, labels: Any, weights: Any, **_: Any) -> dict[str, Any]:
        self.seen += told({"input_ids": input_ids, "labels": labels, "weights": weights})
        return {"loss": weighted_loss(self.items(input_ids).cumsum(1), self.out, labels, weights)}


@pytest.mark.parametrize("unit", ["pairs", "windows"])
def test_a_batch_is_that_of_the_stream(store: SequenceStore, unit: str):
    stream = stream_of(store, unit)
    data = StreamDataset(stream, L)
    data.set_epoch(2)
    index = np.arange(7)
    batch, (histories, targets, weights, _) = data.__getitems__(index.tolist()), stream.batch(2, index, L)
    assert batch["attention_mask"].sum(1).tolist() == histories.lengths.tolist()
    assert batch["input_ids"].tolist() == histories.padded(L).tolist()
    trained = batch["labels"] != IGNORED
    assert batch["labels"][trained].tolist() == store.values[targets.rows].tolist()
    assert batch["weights"][trained].tolist() == pytest.approx(weights.tolist())
    assert trained.nonzero()[:, 1].tolist() == targets.place.tolist()
    assert told(batch)[3] == tuple(data[3][name].tolist() for name in ("input_ids", "labels", "weights"))


@pytest.mark.parametrize("unit", ["pairs", "windows"])
def test_ranks_workers_and_resuming_change_no_example(store: SequenceStore, unit: str):
    data = StreamDataset(stream_of(store, unit), L)
    data.set_epoch(1)
    size = next(size for size in range(8, 20) if len(data) % size >= 3)
    steps = [told(batch) for batch in data.loader(size)]
    assert [row for step in steps for row in step] == told(data.__getitems__(range(len(data))))
    assert [told(batch) for batch in data.loader(size, num_workers=2)] == steps
    assert [told(batch) for batch in data.loader(size, first_step=3)] == steps[3:]
    assert len(data.loader(size, first_step=3)) == len(steps) - 3
    ranks = [data.loader(size, rank=rank, world_size=3) for rank in range(3)]
    assert [[row for part in parts for row in told(part)] for parts in zip(*ranks, strict=True)] == steps


def test_the_loss_is_the_mean_over_single_targets(store: SequenceStore):
    data = StreamDataset(stream_of(store, "pairs"), L)
    batch = data.__getitems__([0, 1, 2])
    logits = torch.randn(3, L, N)
    row, place = (batch["labels"] != IGNORED).nonzero(as_tuple=True)
    expected = torch.nn.functional.cross_entropy(logits[row, place], batch["labels"][row, place])
    assert weighted_loss(logits, torch.nn.Identity(), batch["labels"], batch["weights"]).item() == pytest.approx(
        expected.item()
    )


def test_lengths_of_other_windows_are_refused(store: SequenceStore):
    with pytest.raises(InputError, match="max_length"):
        StreamDataset(stream_of(store, "windows"), L + 1)


@pytest.mark.parametrize("unit", ["pairs", "windows"])
def test_hugging_faces_trainer_trains_the_epochs_in_order(store: SequenceStore, unit: str, tmp_path: Path):
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")
    data, model = StreamDataset(stream_of(store, unit), L), Model()
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
    )
    transformers.Trainer(model, arguments, train_dataset=data, data_collator=collated).train()
    expected = []
    for epoch in (0, 1):
        data.set_epoch(epoch)
        expected += told(data.__getitems__(range(len(data))))
    assert model.seen == expected


@pytest.mark.parametrize("unit", ["pairs", "windows"])
def test_lightnings_trainer_trains_the_epochs_in_order(store: SequenceStore, unit: str, tmp_path: Path):
    lightning = pytest.importorskip("lightning")
    from lightning.pytorch.loggers import CSVLogger

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Model()

        def training_step(self, batch: Any) -> Any:
            return self.model(**batch)["loss"]

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    data, module = StreamDataset(stream_of(store, unit), L), Module()
    off = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    logger = CSVLogger(tmp_path)  # W&B's and MLflow's have the same methods
    report = data.trained_on(SamplingPolicy(1, 0, 0))
    logger.log_hyperparams({"trained_on": report})
    lightning.Trainer(accelerator="cpu", max_epochs=2, logger=logger, **off).fit(module, data.loader(8))
    (logged,) = tmp_path.rglob("hparams.yaml")
    assert yaml.safe_load(logged.read_text()) == {"trained_on": report}
    assert report["size"] == len(data) and report["pairs_per_epoch"] == data.stream.pairs_per_epoch
    expected = []
    for epoch in (0, 1):
        data.set_epoch(epoch)
        expected += told(data.__getitems__(range(len(data))))
    assert module.model.seen == expected


def test_rectools_sasrec_trains_on_the_windows():
    pytest.importorskip("rectools.models.nn.transformers.sasrec", exc_type=ImportError)
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    from genpas_plugins.neural.rectools_preparator import StreamPreparator

    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            Columns.User: random.integers(100, 120, 300),
            Columns.Item: random.integers(500, 530, 300),
            Columns.Weight: 1,
            Columns.Datetime: pd.Timestamp("2026-01-01") + pd.to_timedelta(random.permutation(300), "h"),
        }
    )
    settings = {"strategy": "slide_window"}
    model = SASRecModel(
        session_max_len=L,
        n_factors=8,
        n_heads=1,
        n_blocks=1,
        epochs=1,
        batch_size=16,
        verbose=0,
        data_preparator_type=StreamPreparator,
        data_preparator_kwargs={"genpas": settings, "seed": 4},
    )
    model.fit(Dataset.construct(frame))
    preparator = model.data_preparator
    ids = preparator.item_id_map.external_ids
    trained: dict[tuple[tuple[int, ...], int], float] = {}
    for batch in preparator.get_dataloader_train():
        for x, y, w in zip(batch["x"].tolist(), batch["y"].tolist(), batch["yw"].tolist(), strict=True):
            begin = next(i for i, item in enumerate(x) if item)
            for place in range(L):
                assert (y[place] > 0) == (w[place] > 0)
                if y[place]:
                    history = tuple(ids[x[begin : place + 1]])
                    trained[history, ids[y[place]]] = trained.get((history, ids[y[place]]), 0) + w[place]
    counted: dict[tuple[tuple[int, ...], int], int] = {}
    for _, items in frame.sort_values(Columns.Datetime).groupby(Columns.User)[Columns.Item]:
        bought = items.tolist()
        for k in range(1, len(bought)):
            for j in range(k):
                pair = tuple(bought[max(j, k - L) : k]), bought[k]
                counted[pair] = counted.get(pair, 0) + 1
    total, all_pairs = sum(trained.values()), sum(counted.values())
    assert {pair: w / total for pair, w in trained.items()} == pytest.approx(
        {pair: n / all_pairs for pair, n in counted.items()}, rel=1e-5
    )
    recommended = model.recommend([100, 101], Dataset.construct(frame), 3, filter_viewed=True)
    assert set(recommended[Columns.User]) <= {100, 101} and len(recommended)


def test_rectools_own_loader_trains_on_last_items():
    pytest.importorskip("rectools.models.nn.transformers.sasrec", exc_type=ImportError)
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models.nn.transformers.sasrec import SASRecDataPreparator

    random = np.random.default_rng(2)
    lengths = random.integers(2, 15, 12)
    store = SequenceStore.from_arrays(random.integers(1, N, lengths.sum()), np.cumsum([0, *lengths]), n_items=N - 1)
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(lengths.sum()), "h")
    users = np.repeat(np.arange(len(lengths)), lengths)
    columns = {Columns.User: users, Columns.Item: store.values, Columns.Weight: 1, Columns.Datetime: times}
    preparator = SASRecDataPreparator(session_max_len=L, batch_size=4, dataloader_num_workers=0)
    preparator.process_dataset_train(Dataset.construct(pd.DataFrame(columns)))
    ids, theirs = preparator.item_id_map.external_ids, []
    for batch in preparator.get_dataloader_train():
        for x, y in zip(batch["x"].tolist(), batch["y"].tolist(), strict=True):
            theirs += [([ids[i] for i in x[: k + 1] if i], ids[item]) for k, item in enumerate(y) if item]
    stream = pair_stream(store.view(), named_policy(f"last_items:length={L}"), seed=1)
    index = np.arange(stream.size)
    histories, targets, _, _ = stream.batch(0, index, L)
    items, offsets = histories.jagged()
    cut = zip(offsets[:-1].tolist(), offsets[1:].tolist(), store.values[targets.rows].tolist(), strict=True)
    ours = [(items[a:b].tolist(), target) for a, b, target in cut]
    assert sorted(theirs) == sorted(ours)
