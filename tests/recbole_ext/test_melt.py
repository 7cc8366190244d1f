"""MELT: who is in the head, what the branches read, and what they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from recbole.config import Config

from genpas_plugins import InputError
from recbole_ext.models.melt import MELT, _last, _some
from recbole_ext.models.same_target import Histories


@pytest.fixture
def made(prepare: Callable[..., Any]) -> tuple[Any, MELT]:
    """Return what RecBole prepares, and an untrained model in evaluation mode."""
    prepared = prepare("multi_target", "MELT", warmup_epochs=0, head_from=0.6)
    return prepared, MELT(prepared.config, prepared.train._dataset).eval()


def test_head_and_tail_part_users_and_items_at_the_quantiles(made: tuple[Any, MELT]):
    prepared, model = made
    view = prepared.train._dataset.training_view()
    assert torch.equal(model.sizes, torch.from_numpy(view.lengths()))
    lengths = model.sizes[model.sizes > 0].double()
    assert model.user_threshold == torch.quantile(lengths, 0.6)
    assert model.head_users.tolist() == torch.nonzero(model.sizes > model.user_threshold)[:, 0].tolist()
    counts = model.contexts.counts
    assert not {*model.head_items.tolist()} & {*model.tail_items.tolist()}
    assert sorted([*model.head_items.tolist(), *model.tail_items.tolist()]) == torch.nonzero(counts)[:, 0].tolist()
    assert counts[model.head_items].min() > model.item_threshold >= counts[model.tail_items].max()


def test_whole_sequences_end_with_the_last_training_item(made: tuple[Any, MELT]):
    prepared, model = made
    view, limit = prepared.train._dataset.training_view(), model.max_seq_length
    whole = model._whole(model.head_users)
    for row, user in enumerate(model.head_users.tolist()):
        start = int(view.store.offsets[user])
        items = view.store.values[start : start + int(view.lengths()[user])][-limit:]
        assert whole.items[row, : int(whole.lengths[row])].tolist() == items.tolist()


def test_an_epoch_begins_with_new_vectors_of_tail_items(made: tuple[Any, MELT]):
    _, model = made
    before = model.item_embedding.weight.detach().clone()
    item = int(model.tail_items[0])
    contexts = model.contexts.histories(*model.contexts.all_of(torch.tensor([item])))
    expected = model.item_branch(model(*contexts).mean(0))
    model.start_epoch(0.5)
    after = model.item_embedding.weight
    torch.testing.assert_close(after[item], expected)
    changed = torch.nonzero((before != after).any(1))[:, 0].tolist()
    assert changed == model.tail_items.tolist()


def test_tail_users_get_what_the_user_branch_adds(made: tuple[Any, MELT]):
    prepared, model = made
    batch = next(iter(prepared.train))
    plain = model(batch["item_id_list"], batch["item_length"]) @ model.item_embedding.weight.T
    scores, tail = model.full_sort_predict(batch), model.tail_users[batch["user_id"]]
    assert tail.any() and not tail.all()
    assert torch.equal((scores - plain).abs().amax(1) > 1e-6, tail)
    torch.testing.assert_close(model.predict(batch), scores[torch.arange(len(batch)), batch["item_id"]])
    model.start_epoch(-0.5)  # the warm-up: SASRec alone
    torch.testing.assert_close(model.full_sort_predict(batch), plain)
    torch.testing.assert_close(model.calculate_loss(batch), torch.nn.functional.cross_entropy(plain, batch["item_id"]))


def test_some_numbers_are_different_and_below_their_count():
    torch.manual_seed(1)
    counts, few = torch.tensor([1, 6, 3]), torch.tensor([1, 4, 3])
    row, number = _some(counts, few)
    drawn = [number[row == each].tolist() for each in range(3)]
    assert [len(set(numbers)) for numbers in drawn] == few.tolist()
    assert all(max(numbers) < count for numbers, count in zip(drawn, counts.tolist(), strict=True))


def test_the_last_items_of_histories():
    histories = Histories(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))
    assert _last(histories, torch.tensor([2, 1])).items.tolist() == [[2, 3], [4, 0]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"warmup_epochs": 1}, "MELT's branches would never learn: warmup_epochs is 1, epochs 1"),
        ({"warmup_epochs": 0, "genpas_targets": "parallel"}, "targets: parallel is not possible with MELT"),
        ({"warmup_epochs": 0, "genpas_trim": True}, "trim: true is not possible with MELT"),
    ],
)
def test_what_its_branches_cannot_do_is_refused(changes: dict[str, Any], reason: str, settings: dict[str, Any]):
    with pytest.raises(InputError, match=reason):
        Config("MELT", "tiny", config_dict={**settings, "genpas": "multi_target", **changes})
