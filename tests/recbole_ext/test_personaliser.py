"""DR4SR+ around RecBole's models: equal weights change nothing, and the personaliser learns which pairs help."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.model.sequential_recommender import SASRec
from recbole.quick_start import run_recbole
from recbole.trainer import Trainer
from recbole.utils import get_model

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.data.recbole_files import export_recbole
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import mine_patterns
from genpas_plugins.neural.dr4sr.personaliser import relative_weights
from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store
from genpas_plugins.settings.personaliser import PersonaliserConfig
from recbole_ext import personaliser
from recbole_ext.personaliser import STATE, PersonalisedLoss
from recbole_ext.trimming import TrimmedLoss

MODELS = ("SASRec", "GRU4Rec", "FMLPRec")
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
PLUS = {"method": "dr4sr_plus", "warmup_epochs": 0, "interval": 2}
STRATEGIES: dict[str, Any] = {
    "last_target": "last_target",
    "multi_target": "multi_target",
    "slide_window": "slide_window",
    "sampled": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "pairs_per_epoch": 128},
    "augmented": {"strategy": "multi_target", "augment": {"operator": "reorder", "rate": 0.5, "probability": 1.0}},
}
N_ITEMS, WRONG = 30, 20


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Walks around a circle of 20 items; added sequences step from it to ten other items, which no user does."""
    random = np.random.default_rng(0)
    walks = [1 + (random.integers(WRONG) + np.arange(random.integers(5, 9))) % WRONG for _ in range(80)]
    walks.append(np.arange(1, N_ITEMS + 3))  # RecBole knows the items that users have, held-out ones among them
    walks[-1][-2:] = 1
    store = SequenceStore.from_arrays(np.concatenate(walks), np.cumsum([0, *map(len, walks)]))
    written = np.zeros((80, 8, 5), np.int64)
    written[:, :, 0] = random.integers(1, WRONG + 1, (80, 8))
    written[:, :, 1] = random.integers(WRONG + 1, N_ITEMS + 1, (80, 8))
    patterns = mine_patterns(store.leave_last_out().train)
    made = regenerated_store(store, patterns, Regenerated(np.arange(80), written, written > 0))
    directory = tmp_path_factory.mktemp("exported")
    export_recbole(made, directory, "new")
    export_recbole(store, directory, "plain")
    return directory


@pytest.fixture
def made(prepare: Callable[..., Any], exported: Path) -> Callable[..., Any]:
    """Return made(genpas, model, …): RecBole's configuration, data set and loaders of the data set `new`."""

    def of(genpas: Any = "multi_target", model: str = "SASRec", dataset: str = "new", **changes: Any) -> Any:
        loaded = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "data_path": str(exported)}
        return prepare(genpas, model, dataset, **{**loaded, "personaliser": PLUS, **changes})

    return of


@pytest.fixture
def loss_of(made: Callable[..., Any]) -> Callable[..., tuple[PersonalisedLoss, Any]]:
    """Return loss_of(model, **settings): the loss around an untrained model in training mode, and a batch."""

    def of(name: str, **changes: Any) -> tuple[PersonalisedLoss, Any]:
        prepared = made(model=name, **{**NO_DROPOUT, **changes})
        model = get_model(name)(prepared.config, prepared.train._dataset).train()
        section = PersonaliserConfig.from_mapping(prepared.config["personaliser"])
        return PersonalisedLoss(prepared.config, section, model, prepared.train), next(iter(prepared.train))

    return of


def unequal(loss: PersonalisedLoss) -> None:
    """Give the personaliser preferences."""
    torch.nn.init.normal_(loss.personaliser.layers[2].weight)


def gradients(model: Any, loss: Any) -> list[Any]:
    return list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True))


@pytest.mark.parametrize("kind", ["CE", "BPR"])
@pytest.mark.parametrize("name", MODELS)
def test_equal_weights_are_the_plain_loss_to_the_bit(name: str, kind: str, loss_of: Callable[..., Any]):
    loss, batch = loss_of(name, loss_type=kind)
    assert loss.weights(batch).unique().numel() == 1
    made, plain = loss(batch), loss.model.calculate_loss(batch)
    assert torch.equal(made, plain)
    for one, other in zip(gradients(loss.model, made), gradients(loss.model, plain), strict=True):
        assert one is other is None or torch.equal(one, other)


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_of_single_pairs(name: str, loss_of: Callable[..., Any]):
    loss, batch = loss_of(name)
    unequal(loss)
    weights = loss.weights(batch)
    single = [loss.model.calculate_loss(batch[row : row + 1]).item() for row in range(len(weights))]
    expected = np.average(single, weights=weights.detach().numpy())
    assert loss(batch).item() == pytest.approx(expected, rel=1e-5) and weights.std() > 0.01


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_trimmed_histories_have_the_loss_and_the_step_of_padded_ones(name: str, loss_of: Callable[..., Any]):
    settings = {"genpas": {"strategy": "multi_target", "trim": True}, "MAX_ITEM_LIST_LENGTH": 25}
    loss, batch = loss_of(name, **settings, train_batch_size=512)
    assert loss.losses.trim and batch["item_length"].min() < 8 < batch["item_length"].max(), "groups of several lengths"
    unequal(loss)
    loss.optimiser = torch.optim.SGD(loss.personaliser.parameters(), lr=1.0)  # a step is the gradient
    start = {key: value.clone() for key, value in loss.personaliser.state_dict().items()}
    made, steps = [], []
    for trim in (True, False):
        loss.losses.trim = trim
        loss.personaliser.load_state_dict(start)
        made.append(loss(batch).item())
        loss._move(batch, 1)
        steps.append([(value - start[key]).clone() for key, value in loss.personaliser.state_dict().items()])
    assert made[0] == pytest.approx(made[1], rel=1e-5)
    largest = max(step.abs().max() for step in steps[1])
    assert largest > 0
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(largest))


def test_with_trim_the_warm_up_is_trimmed_and_then_pairs_are_weighed(
    made: Callable[..., Any], calls: Callable[..., list[str]]
):
    genpas = {"strategy": "multi_target", "trim": True}
    prepared = made(genpas, personaliser={**PLUS, "warmup_epochs": 1}, epochs=2)
    called = calls(TrimmedLoss, PersonalisedLoss)
    trainer = Trainer(prepared.config, get_model("SASRec")(prepared.config, prepared.train._dataset))
    for epoch in range(2):
        trainer._train_epoch(prepared.train, epoch)
    assert [*dict.fromkeys(called)] == ["TrimmedLoss", "PersonalisedLoss"]
    assert called.count("PersonalisedLoss") == len(prepared.train)


def test_a_weight_is_of_the_pairs_items(loss_of: Callable[..., Any]):
    loss, batch = loss_of("SASRec")
    unequal(loss)
    table = loss.model.item_embedding.weight
    length = int(batch["item_length"][3])
    history = table[batch["item_id_list"][3, :length]][None]
    alone = loss.personaliser(history, table[batch["item_id"][3]][None])
    torch.testing.assert_close(loss.weights(batch)[3:4], alone)


@pytest.mark.parametrize("kind", ["CE", "BPR"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_moves_the_personaliser_alone(name: str, kind: str, loss_of: Callable[..., Any]):
    loss, batch = loss_of(name, loss_type=kind)
    before = {key: value.clone() for key, value in loss.model.state_dict().items()}
    state = torch.get_rng_state()
    loss._move(batch, 1)
    assert torch.equal(torch.get_rng_state(), state), "dropout goes on as without a step"
    assert all(torch.equal(value, before[key]) for key, value in loss.model.state_dict().items())
    assert all(parameter.grad is None for parameter in loss.model.parameters())
    assert loss.personaliser.layers[2].weight.abs().sum() > 0


def test_steps_stand_every_interval_counted_from_the_warm_up(loss_of: Callable[..., Any], monkeypatch: Any):
    section = {"method": "dr4sr_plus", "warmup_epochs": 1, "interval": 3}
    loss, batch = loss_of("SASRec", personaliser=section, epochs=9)
    moved: list[tuple[int, int]] = []
    monkeypatch.setattr(loss, "_move", lambda _, number: moved.append((count, number)))
    loss.steps_per_epoch = 4
    count = 0
    for epoch in (1, 2, 3):
        loss.start_epoch(epoch)
        for _ in range(4):
            loss(batch)
            count += 1
    assert moved == [(3, 1), (6, 2), (9, 3)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_outer_batches_are_pairs_of_originals_and_repeat(strategy: str, loss_of: Callable[..., Any]):
    loss, _ = loss_of("SASRec", genpas=STRATEGIES[strategy])
    data = loss.originals._dataset
    stream = loss.originals.stream
    drawn = stream.pairs(0, np.arange(stream.pairs_per_epoch))
    assert drawn.sequence.max() < data.user_num and data.n_added
    assert np.all(drawn.target < data.training_view().lengths()[drawn.sequence])
    made, again = loss.original_batch(2), loss.original_batch(2)
    addressed = stream.pairs(0, loss.originals.indices(1))
    assert np.array_equal(made["user_id"], addressed.sequence)
    assert np.array_equal(made["item_id"], data.store.values[data.store.offsets[addressed.sequence] + addressed.target])
    assert torch.equal(made["item_id_list"], again["item_id_list"])


@pytest.mark.parametrize("name", MODELS)
def test_a_step_gives_weight_to_pairs_whose_gradient_is_that_of_the_originals(name: str, loss_of: Callable[..., Any]):
    loss, batch = loss_of(name, personaliser={**PLUS, "terms": 0}, train_batch_size=16)
    unequal(loss)
    rate = 1e6  # beside such a step the rounding of the parameters is small
    loss.optimiser = torch.optim.SGD(loss.personaliser.parameters(), lr=rate)
    model, preferences = loss.model, list(loss.personaliser.parameters())
    before = [parameter.detach().clone() for parameter in preferences]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def slope(value: Any) -> Any:
        made = torch.autograd.grad(value, parameters, allow_unused=True)
        return torch.cat(
            [torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, made, strict=True)]
        )

    of_originals = slope(loss.losses(loss.original_batch(1)).loss)
    single = [model.calculate_loss(batch[row : row + 1]) for row in range(len(batch))]
    agreement = torch.stack([slope(value) @ of_originals for value in single])
    gain = loss.step_size * (relative_weights(loss.weights(batch)) * agreement).mean()
    expected = torch.autograd.grad(gain, preferences)
    loss._move(batch, 1)
    largest = float(max(part.abs().max() for part in expected))
    assert largest > 0
    for parameter, start, wanted in zip(preferences, before, expected, strict=True):
        torch.testing.assert_close((parameter.detach() - start) / rate, wanted, rtol=1e-3, atol=1e-3 * largest)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_step_training_is_plain_training(name: str, made: Callable[..., Any], monkeypatch: Any):
    def trained(**changes: Any) -> dict[str, Any]:
        prepared = made(model=name, epochs=2, **changes)
        torch.manual_seed(0)
        trainer = Trainer(prepared.config, get_model(name)(prepared.config, prepared.train._dataset))
        for epoch in (0, 1):
            trainer._train_epoch(prepared.train, epoch)
        return {key: value.clone() for key, value in trainer.model.state_dict().items()}

    ours = trained(personaliser={**PLUS, "warmup_epochs": 1, "interval": 10**6})
    plain = personaliser.PersonalisedLoss
    monkeypatch.setattr(plain, "__call__", lambda self, interaction: self.model.calculate_loss(interaction))
    stock = trained()
    assert all(torch.equal(stock[key], ours[key]) for key in stock)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_trains_under_every_strategy(strategy: str, settings: dict[str, Any], exported: Path):
    loaded = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "data_path": str(exported)}
    changes = {"genpas": STRATEGIES[strategy], "personaliser": PLUS, **loaded}
    result = run_recbole("SASRec", "new", config_dict={**settings, **changes})
    assert all(math.isfinite(value) for value in result["test_result"].values())


def test_early_stopping_counts_from_the_warm_up_on(made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    prepared = made(stopping_step=1, epochs=20, personaliser={**PLUS, "warmup_epochs": 4})
    trainer = Trainer(prepared.config, get_model("SASRec")(prepared.config, prepared.train._dataset))
    epochs: list[int] = []
    monkeypatch.setattr(trainer, "_valid_epoch", lambda *_, **__: (-len(epochs), {}))  # each worse than the last
    trainer.fit(
        prepared.train, prepared.valid, saved=False, verbose=False, callback_fn=lambda epoch, _: epochs.append(epoch)
    )
    assert epochs[-1] == 5  # the second without progress, counted from epoch 4


def test_a_resumed_training_goes_on_with_the_same_personaliser(made: Callable[..., Any], tmp_path: Path):
    def fresh() -> tuple[Any, Any]:
        prepared = made(model="GRU4Rec", epochs=4, checkpoint_dir=str(tmp_path), **NO_DROPOUT)
        torch.manual_seed(0)
        return Trainer(prepared.config, get_model("GRU4Rec")(prepared.config, prepared.train._dataset)), prepared

    whole, prepared = fresh()
    for epoch in range(4):
        if epoch == 2:
            whole._save_checkpoint(1, verbose=False)
        whole._train_epoch(prepared.train, epoch)
    resumed, prepared = fresh()
    resumed.resume_checkpoint(whole.saved_model_file)
    for epoch in (2, 3):
        resumed._train_epoch(prepared.train, epoch)
    for one, other in (
        (whole.model, resumed.model),
        (whole._loss_after_warmup.personaliser, resumed._loss_after_warmup.personaliser),
    ):
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    assert set(getattr(resumed.model, STATE)) == {"personaliser", "optimiser"}
    assert resumed.evaluate(prepared.test, load_best_model=True, model_file=whole.saved_model_file)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("SASRec", {"personaliser": {"method": "dr4sr_plus", "intervall": 1}}, "no key 'intervall'.*'interval'"),
        ("SASRec", {"personalizer": "dr4sr_plus"}, "there is no key 'personalizer'. Did you mean 'personaliser'"),
        ("SASRec", {"personaliser": None}, "personaliser must hold keys such as"),
        ("SASRec", {"personaliser": "dr4sr_plus"}, "personaliser would never begin: warmup_epochs is 10, epochs 1"),
        ("SASRec", {"personaliser": PLUS, "genpas": None}, "weighs the pairs of a genpas key, and there is none"),
        (
            "SASRec",
            {"personaliser": PLUS, "genpas": {"strategy": "multi_target", "targets": "parallel"}},
            "weighs single pairs; remove it, or targets: parallel",
        ),
        (
            "SASRec",
            {"personaliser": PLUS, "mixing": {"method": "basrec", "warmup_epochs": 0}},
            "personaliser and mixing are two training losses",
        ),
        ("Caser", {"personaliser": PLUS}, "not possible with Caser: it has no forward.item_seq, item_seq_len."),
        ("BERT4Rec", {"personaliser": PLUS}, "not possible with BERT4Rec: it has no forward.item_seq, item_seq_len."),
    ],
)
def test_what_cannot_be_personalised_is_refused_before_data_are_read(
    model: str, changes: dict[str, Any], message: str, settings: dict[str, Any]
):
    given = {**settings, "genpas": "multi_target", **changes}
    if given["genpas"] is None:
        del given["genpas"]
    with pytest.raises(InputError, match=f"config_dict.*{message}"):
        Config(model, "tiny", config_dict=given)


def test_a_data_set_without_added_sequences_is_refused(loss_of: Callable[..., Any]):
    with pytest.raises(InputError, match="the data set plain has none"):
        loss_of("SASRec", dataset="plain")


def test_a_model_with_another_loss_is_refused(loss_of: Callable[..., Any], monkeypatch: Any):
    original = SASRec.calculate_loss
    monkeypatch.setattr(SASRec, "calculate_loss", lambda self, batch: original(self, batch) + 1)
    with pytest.raises(InputError, match="SASRec: its loss is not CE of forward's output times item_embedding"):
        loss_of("SASRec")
    with pytest.raises(InputError, match=r"RepeatNet: it has no nn\.Embedding called item_embedding"):
        loss_of("RepeatNet")
