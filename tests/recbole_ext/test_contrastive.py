"""CL4SRec and DuoRec: InfoNCE against its definition, and what the views of a history are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from recbole.model.sequential_recommender import SASRec
from recbole.utils import get_model

from genpas_plugins import InputError
from recbole_ext.models.contrastive import info_nce
from recbole_ext.models.same_target import Histories, SameTarget


@pytest.fixture(scope="module")
def made(prepare: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """Return `made(model, **settings)`: what RecBole prepares, and an untrained model."""

    def of(name: str, **changes: Any) -> tuple[Any, Any]:
        prepared = prepare("multi_target", name, **changes)
        return prepared, get_model(name)(prepared.config, prepared.train._dataset)

    return of


def test_info_nce_is_the_mean_over_both_directions():
    one, other = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2))
    everyone = [*one, *other]
    losses = []
    for i, vector in enumerate(everyone):
        weights = {j: torch.exp(vector @ each / 0.5) for j, each in enumerate(everyone) if j != i}
        losses.append(-torch.log(weights[(i + 4) % 8] / sum(weights.values())))
    torch.testing.assert_close(info_nce(one, other, 0.5), torch.stack(losses).mean())


def test_groups_of_similar_length_have_the_vectors_of_sasrec(made: Callable[..., Any]):
    prepared, network = made("DuoRec", MAX_ITEM_LIST_LENGTH=20)
    batch = next(iter(prepared.train))
    histories = batch["item_id_list"], batch["item_length"]
    network.eval()
    torch.testing.assert_close(network(*histories), SASRec.forward(network, *histories))


@pytest.mark.parametrize("model", ["CL4SRec", "DuoRec"])
def test_the_loss_is_that_of_sasrec_and_the_weighted_contrast(model: str, made: Callable[..., Any]):
    prepared, network = made(model, hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    batch = next(iter(prepared.train))
    network.weight = 0.0
    plain = network.calculate_loss(batch)
    logits = network.full_sort_predict(batch)
    torch.testing.assert_close(plain, torch.nn.functional.cross_entropy(logits, batch["item_id"]))
    network.weight = 2.0
    network.views = lambda histories, _: (histories, histories)
    vectors = network(batch["item_id_list"], batch["item_length"])
    torch.testing.assert_close(network.calculate_loss(batch), plain + 2 * info_nce(vectors, vectors, 1.0))


def test_a_view_of_cl4srec_is_one_operator_on_each_history(made: Callable[..., Any]):
    _, network = made("CL4SRec", crop_kept=0.5, mask_rate=0.5, reorder_rate=1.0)
    items = torch.arange(1, 5).expand(300, 4)
    torch.manual_seed(1)
    first, second = network.views(Histories(items, torch.full((300,), 4)), items[:, 0])
    kinds = {"crop": 0, "mask": 0, "reorder": 0}
    for row, length in zip(first.items.tolist(), first.lengths.tolist(), strict=True):
        if length == 2:
            kinds["crop"] += 1
            assert row in ([1, 2, 0, 0], [2, 3, 0, 0], [3, 4, 0, 0])
        elif 0 in row:
            kinds["mask"] += 1
            assert row.count(0) == 2 and all(item in (0, place + 1) for place, item in enumerate(row))
        else:
            kinds["reorder"] += 1
            assert sorted(row) == [1, 2, 3, 4]
    assert min(kinds.values()) > 60  # each has a third of 300
    assert not torch.equal(first.items, second.items)


@pytest.mark.parametrize("genpas", ["multi_target", None])
def test_drawn_histories_are_all_those_before_the_target(genpas: str | None, prepare: Callable[..., Any]):
    prepared = prepare(genpas, "SASRec")
    dataset = prepared.train._dataset
    same = SameTarget(dataset)
    rows = dataset[torch.arange(len(dataset.inter_feat))]
    pairs = list(zip(rows["item_id"].tolist(), map(tuple, rows["item_id_list"].tolist()), strict=True))
    target = int(same.counts.argmax())
    expected = {history for item, history in pairs if item == target}
    torch.manual_seed(1)
    own = Histories(torch.tensor([[7, 8]]).repeat(300, 1), torch.full((300,), 2))
    targets = torch.full((300,), target)
    targets[0] = int(same.counts.argmin())  # 0, padding, is no target
    drawn = same.drawn(targets, own)
    width = drawn.items.shape[1]
    assert {tuple(row) for row in drawn.items[1:].tolist()} == {history[:width] for history in expected}
    assert drawn.items[0, :2].tolist() == [7, 8] and int(drawn.lengths[0]) == 2
    every = torch.nonzero(same.counts)[:, 0]
    found = same.histories(*same.all_of(every))
    assert sorted(map(tuple, found.items.tolist())) == sorted(history for _, history in pairs)


def test_a_temperature_of_nothing_is_refused(made: Callable[..., Any]):
    with pytest.raises(InputError, match="temperature is 0, but similarities are divided by it"):
        made("DuoRec", temperature=0)
