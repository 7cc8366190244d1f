"""Groups of similar length hold every history once, wide enough, in few shapes under autocast."""

from __future__ import annotations

import pytest
import torch

from genpas_plugins.neural.layers.length_groups import ROWS, STEP, LengthOrder


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("number", [1, 5, 16, 190])
def test_groups_hold_every_history_once_and_whole(number: int, half: bool) -> None:
    lengths = torch.randint(1, 51, (number,), generator=torch.Generator().manual_seed(number))
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        by_length = LengthOrder.of(lengths)
    assert sorted(by_length.order.tolist()) == list(range(number))
    assert sum(group.size for group in by_length.groups) == number
    for rows, group in zip(by_length.rows, by_length.groups, strict=True):
        assert 0 < lengths[rows].max() <= group.width <= lengths.max()
        assert half or group.width == lengths[rows].max()
    if half:
        assert all(group.size % ROWS == 0 for group in by_length.groups[1:])
        assert all(group.width % STEP == 0 for group in by_length.groups if group.width < lengths.max())


def test_states_come_back_in_the_order_of_the_histories() -> None:
    lengths = torch.tensor([40, 3, 12, 1, 30])
    by_length = LengthOrder.of(lengths)
    groups = [(rows, group.width) for rows, group in zip(by_length.rows, by_length.groups, strict=True)]
    everywhere = [rows[:, None, None] * 100.0 + torch.arange(width)[:, None] for rows, width in groups]
    history, place = torch.tensor([0, 4, 1, 0]), torch.tensor([39, 2, 0, 1])
    assert by_length.states(everywhere, (history, place)).flatten().tolist() == [39, 402, 100, 1]
    assert by_length.states([part[:, 0] for part in everywhere]).flatten().tolist() == [0, 100, 200, 300, 400]
