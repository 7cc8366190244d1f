"""Added sequences in RecBole: they train whole under every strategy, and validation and test do not see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.trainer import Trainer
from recbole.utils import get_model

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.data.recbole_files import export_recbole
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import mine_patterns
from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store
from recbole_ext import checkpoints
from recbole_ext.checkpoints import data_and_model

LOADED = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
STRATEGIES: dict[str, Any] = {
    "last_target": "last_target",
    "multi_target": "multi_target",
    "slide_window": "slide_window",
    "sampled": {"strategy": "sampled", "alpha": 0.5, "beta": 1, "gamma": 0, "pairs_per_epoch": 700},
}


@pytest.fixture(scope="module")
def original() -> SequenceStore:
    """Thirty users of one to nine of fifteen items."""
    random = np.random.default_rng(3)
    lengths = 1 + np.arange(30) % 9
    return SequenceStore.from_arrays(
        random.integers(1, 16, lengths.sum()), np.cumsum([0, *lengths]), n_items=15,
        user_ids=[f"u{row}" for row in range(30)], item_ids=[f"i{item:02}" for item in range(15)],
        columns={"rating": random.random(lengths.sum())},
    )  # fmt: skip


@pytest.fixture(scope="module")
def regenerated(original: SequenceStore) -> SequenceStore:
    view = original.leave_last_out().train
    rows = np.flatnonzero(view.lengths() >= 2)
    random = np.random.default_rng(4)
    written = random.integers(1, 16, (len(rows), 2, 4)) * (np.arange(4) < random.integers(2, 5, (len(rows), 2, 1)))
    return regenerated_store(original, mine_patterns(view), Regenerated(rows, written, np.zeros((len(rows), 2), bool)))


@pytest.fixture(scope="module")
def exported(original: SequenceStore, regenerated: SequenceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write both stores as data sets `plain` and `new`; the directory that RecBole calls data_path."""
    directory = tmp_path_factory.mktemp("exported")
    export_recbole(original, directory, "plain")
    export_recbole(regenerated, directory, "new")
    return directory


@pytest.fixture
def made(prepare: Callable[..., Any], exported: Path) -> Callable[..., Any]:
    """Return made(genpas, dataset, …): RecBole's configuration, data set and loaders."""

    def of(genpas: Any, dataset: str = "new", **changes: Any) -> Any:
        return prepare(genpas, dataset=dataset, **{**LOADED, "data_path": str(exported), **changes})

    return of


def pairs_of(batch: Any, tokens: Any) -> list[tuple[str, ...]]:
    """Return histories and their targets by the ids of the file, target last."""
    rows = zip(batch["item_id_list"].numpy(), batch["item_length"].tolist(), batch["item_id"].tolist(), strict=True)
    return [(*tokens[history[:length]], tokens[target]) for history, length, target in rows]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_validation_and_test_are_those_of_the_original(
    strategy: str, made: Callable[..., Any], same_evaluation: Callable[..., None]
):
    plain, new = made(STRATEGIES[strategy], "plain"), made(STRATEGIES[strategy])
    for field in ("user_id", "item_id"):
        assert np.array_equal(plain.dataset.field2id_token[field], new.dataset.field2id_token[field])
    same_evaluation(plain.valid, new.valid)
    same_evaluation(plain.test, new.test)


def test_an_epoch_is_that_of_the_regenerated_store(made: Callable[..., Any], regenerated: SequenceStore):
    """Every prefix of a training sequence once, but those of users whose whole split differs in RecBole."""
    new = made("multi_target", MAX_ITEM_LIST_LENGTH=20)
    tokens = np.asarray(new.dataset.field2id_token["item_id"])
    ours = Counter(pair for batch in new.train for pair in pairs_of(batch, tokens))
    view = regenerated.leave_last_out().train
    expected: Counter[tuple[str, ...]] = Counter()
    for row, length in enumerate(view.lengths()):
        if regenerated.kinds()[row] == 0:
            # RecBole leaves a training pair to users of two and three items; the store's split leaves them none.
            whole = int(regenerated.lengths()[row])
            kept = {2: 2, 3: 2}.get(whole, length)
        else:
            kept = length
        first = regenerated.offsets[row]
        items = [regenerated.item_ids[int(item) - 1].as_py() for item in regenerated.values[first : first + kept]]
        expected.update(tuple(items[: target + 1]) for target in range(1, kept))
    assert ours == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_draws_added_sequences_and_nothing_held_out(
    strategy: str, made: Callable[..., Any], drawn: Callable[..., Any]
):
    new = made(STRATEGIES[strategy])
    record = drawn(new.train)
    batches = list(new.train)
    data, (sequence, start, target) = new.train._dataset, np.concatenate([pairs for _, pairs in record], 1)
    n_users = data.user_num
    assert set(sequence[sequence >= n_users]) == set(range(n_users, data.store.n_sequences))
    whole = np.diff(data.store.offsets)[sequence]
    assert np.all((start < target) & (target < whole))
    assert whole[sequence >= n_users].max() - 1 == target[sequence >= n_users].max(), "added sequences train whole"
    held_out = set(zip(*held_out_pairs(new), strict=True))
    assert not held_out & set(zip(*(part[sequence < n_users] for part in (sequence, target)), strict=True))
    assert all(batch["user_id"].max() < n_users for batch in batches), "models know no further user"


def held_out_pairs(prepared: Any) -> tuple[Any, Any]:
    """Return users and positions of the targets of validation and test."""
    rows = [loader._dataset.inter_feat for loader in (prepared.valid, prepared.test)]
    users, targets = (torch.cat([part[field] for part in rows]).numpy() for field in ("user_id", "_store_row"))
    return users, targets - prepared.dataset.store.offsets[users]


def test_an_added_sequence_has_the_user_it_was_made_from(made: Callable[..., Any], regenerated: SequenceStore):
    data = made("multi_target").train._dataset
    assert data.n_added == (regenerated.kinds() > 0).sum() == len(data.owner) - data.user_num
    users = data.field2id_token["user_id"][data.owner[data.user_num :]]
    rows = regenerated.owners()[regenerated.kinds() > 0]
    assert users.tolist() == ["[PAD]" if row < 0 else f"u{row}" for row in rows]
    lengths = data.original_view().lengths()
    assert not lengths[data.user_num :].any()
    assert np.array_equal(lengths[: data.user_num], data.training_view().lengths()[: data.user_num])


def test_with_a_share_of_the_users_they_go_with_their_user(
    made: Callable[..., Any], regenerated: SequenceStore, same_evaluation: Callable[..., None]
):
    whole, part = (made({"strategy": "multi_target", "train_users": share}) for share in (1.0, 0.4))
    data, lengths = part.train._dataset, part.train.stream.view.lengths()
    before = whole.train.stream.view.lengths()
    users = set(np.flatnonzero(lengths[: data.user_num]).tolist())
    assert len(users) == -(-np.count_nonzero(before[: data.user_num] >= 2) * 4 // 10)
    assert not any(data.owner[data.user_num :][regenerated.kinds()[regenerated.kinds() > 0] == 1]), "nobody's own"
    for row in range(data.user_num, data.store.n_sequences):
        assert lengths[row] == (before[row] if data.owner[row] in users else 0)
    assert np.any(lengths[data.user_num :])
    assert {int(user) for batch in part.train for user in batch["user_id"]} == users
    same_evaluation(whole.valid, part.valid)
    same_evaluation(whole.test, part.test)
    trainer = Trainer(part.config, get_model("SASRec")(part.config, data))
    trainer.fit(part.train, part.valid, verbose=False, saved=False)
    assert part.config["trained_on"]["added_sequences"] == np.count_nonzero(lengths[data.user_num :]) < data.n_added
    assert not data.original_view().lengths()[data.user_num :].any()


def test_other_fields_of_added_interactions_are_nought(made: Callable[..., Any]):
    data = made("multi_target", load_col={"inter": ["user_id", "item_id", "timestamp", "rating"]}).train._dataset
    first = data.store.offsets[data.user_num]
    for field in ("rating", "timestamp"):
        column = data.store.columns[field]
        assert column[:first].any() and not column[first:].any()


def test_a_run_and_its_checkpoint(made: Callable[..., Any], tmp_path: Path):
    prepared = made("multi_target", model="GRU4Rec", checkpoint_dir=str(tmp_path))
    trainer = Trainer(prepared.config, get_model("GRU4Rec")(prepared.config, prepared.train._dataset))
    trainer.fit(prepared.train, prepared.valid, verbose=False)
    assert prepared.config["trained_on"]["pairs_per_epoch"] == prepared.train.stream.view.n_pairs
    config, model, _, _, _, test = data_and_model(checkpoints.load(trainer.saved_model_file))
    assert Trainer(config, model).evaluate(test, load_best_model=False) == trainer.evaluate(prepared.test)


def test_a_model_with_users_trains(made: Callable[..., Any]):
    prepared = made("multi_target", model="NPE", loss_type="BPR")
    model = get_model("NPE")(prepared.config, prepared.train._dataset)
    assert Trainer(prepared.config, model)._train_epoch(prepared.train, 0) > 0


def test_without_the_key_they_are_refused(made: Callable[..., Any]):
    with pytest.raises(InputError, match=r"new\.added\.inter holds sequences.*Add a genpas key"):
        made(None)
    made(None, "plain")


def test_filters_are_refused(made: Callable[..., Any]):
    with pytest.raises(InputError, match=r"filters removed \d+ of \d+ interactions.*genpas prepare"):
        made("multi_target", user_inter_num_interval="[5,inf)")
    made("multi_target", "plain", user_inter_num_interval="[5,inf)")


def test_a_split_that_holds_out_more_is_refused(made: Callable[..., Any]):
    split = {"eval_args": {"split": {"RS": [4, 3, 3]}, "order": "TO", "group_by": "user", "mode": "full"}}
    with pytest.raises(InputError, match="this split holds out more"):
        made("multi_target", **split)
    made("multi_target", "plain", **split)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("\ti03\n", "\ti99\n"), "has no item_id 'i99'"),
        (("\tu21\t", "\tu77\t"), "has no user_id 'u77'"),
        (("\n3\t", "\n5\t"), "not numbered"),
        (("\n3\t", "\nthree\t"), "is damaged"),
        (("item_id", "product"), "is damaged"),
        (("sequence:float", ""), "is damaged"),
    ],
)
def test_a_damaged_file_is_refused(
    change: tuple[str, str], message: str, made: Callable[..., Any], exported: Path, tmp_path: Path
):
    (tmp_path / "new").mkdir()
    for file in (exported / "new").iterdir():
        text = file.read_text()
        if ".added." in file.name:
            assert change[0] in text
            text = text.replace(*change)
        (tmp_path / "new" / file.name).write_text(text)
    with pytest.raises(InputError, match=message):
        made("multi_target", data_path=str(tmp_path))
