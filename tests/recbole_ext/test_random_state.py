"""A resumed training goes on with the generators of the one that stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.utils import get_model, get_trainer

from genpas_plugins import InputError
from recbole_ext.checkpoints import load, save

SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0}
MODELS = [
    ("SASRec", {}),
    ("SASRec", {"loss_type": "BPR"}),
    ("SASRec", {"genpas": {**SAMPLED, "targets": "parallel"}}),
    ("SASRec", {"mixing": {"method": "basrec", "warmup_epochs": 1}}),
    ("GRU4Rec", {"dropout_prob": 0.5}),
    ("CORE", {}),
]


def trainer_of(made: Any) -> Any:
    return get_trainer(made.config["MODEL_TYPE"], made.config["model"])(
        made.config, get_model(made.config["model"])(made.config, made.train.dataset)
    )


@pytest.mark.parametrize(("model", "changes"), MODELS, ids=str)
@pytest.mark.parametrize("validated", [False, True])
def test_two_epochs_and_two_resumed_ones_are_four_bit_for_bit(
    model: str, changes: dict[str, Any], validated: bool, prepare: Callable[..., Any], tmp_path: Path
):
    def prepared(epochs: int, folder: str) -> tuple[Any, Any, tuple[Any, ...]]:
        genpas = changes.get("genpas", SAMPLED)
        given = {key: value for key, value in changes.items() if key != "genpas"}
        made = prepare(genpas, model, epochs=epochs, checkpoint_dir=str(tmp_path / folder), **given)
        return made, trainer_of(made), (made.train, made.valid) if validated else (made.train,)

    _, whole, data = prepared(4, "whole")
    whole.fit(*data)
    _, first, data = prepared(2, "first")
    first.fit(*data)
    last = load(first.saved_model_file)["epoch"]
    assert validated or last == 1
    _, resumed, data = prepared(4, "first")
    resumed.resume_checkpoint(first.saved_model_file)
    torch.rand(3)  # whatever happens before the first epoch
    resumed.fit(*data)
    assert {epoch: whole.train_loss_dict[epoch] for epoch in range(last + 1, 4)} == resumed.train_loss_dict
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, resumed.model.state_dict()[name]), name


def test_a_checkpoint_without_generators_resumes_and_a_damaged_one_is_refused(
    prepare: Callable[..., Any], tmp_path: Path
):
    made = prepare(SAMPLED, epochs=2)
    trainer = trainer_of(made)
    trainer.fit(made.train)
    state = load(trainer.saved_model_file)
    generators = state.pop("random_state")
    save(state, tmp_path / "old.pth")
    again = prepare(SAMPLED, epochs=3)
    resumed = trainer_of(again)
    resumed.resume_checkpoint(tmp_path / "old.pth")
    resumed.fit(again.train)
    assert list(resumed.train_loss_dict) == [2]
    for damaged in ({}, {**generators, "torch": torch.zeros(3)}, {**generators, "python": 1}):
        save({**state, "random_state": damaged}, tmp_path / "damaged.pth")
        resumed = trainer_of(again)
        resumed.resume_checkpoint(tmp_path / "damaged.pth")
        with pytest.raises(InputError, match="random_state is damaged"):
            resumed.fit(again.train)
