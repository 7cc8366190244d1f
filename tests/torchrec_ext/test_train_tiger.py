"""`python -m torchrec_ext.train` with model: TIGER, in one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchrec")
pytest.importorskip("recbole")
pytest.importorskip("transformers")
pytest.importorskip("faiss")

from torchrec_ext import train
from torchrec_ext.stream import GenPASStream
from torchrec_ext.tables import table_kernels
from torchrec_ext.training import run as training
from torchrec_ext.training.run import Run


@pytest.fixture(scope="module")
def settings(tiny_settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run of the other models, as one of TIGER's."""
    settings = json.loads(tiny_settings.read_text())
    for key in ("n_layers", "n_heads", "hidden_size", "inner_size", "hidden_dropout_prob", "attn_dropout_prob"):
        del settings[key]
    settings |= {"model": "TIGER", "levels": 2, "codes": 8, "d_model": 8, "num_heads": 2, "head_size": 4}
    settings |= {"d_ff": 16, "encoder_layers": 1, "decoder_layers": 1, "beams": 12, "dropout": 0.3}
    settings |= {"user_buckets": 7, "validation_users": 11, "eval_batch_size": 64}
    file = tmp_path_factory.mktemp("settings") / "tiger.yaml"
    file.write_text(json.dumps(settings), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def trained(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train.main(["--config", str(settings), "--out", str(folder)])
    return folder


def test_it_learns_and_recbole_measures_the_same(trained: Path, tmp_path: Path, monkeypatch: Any):
    from recbole.utils import get_trainer

    from recbole_ext.checkpoints import load_data_and_model
    from recbole_ext.training_settings import validation_loader

    results = json.loads((trained / "results.json").read_text())
    assert results["curve"][1]["train_loss"] < results["curve"][0]["train_loss"] - 0.1
    monkeypatch.chdir(tmp_path)  # RecBole logs into the working directory
    config, model, _, train_data, valid_data, test_data = load_data_and_model(trained / "model.pth")
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train_data)
    assert dict(trainer.evaluate(test_data, load_best_model=False)) == results["test"]
    # Validation looks at the users that RecBole's trainer would take.
    assert (
        dict(trainer.evaluate(validation_loader(config, valid_data, print), load_best_model=False))
        == results["best_valid"]
    )


def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    trained: Path, settings: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
):
    class Stopped(GenPASStream):
        def step_done(self) -> None:
            super().step_done()
            if self.epoch * len(self) + self.step == 14:
                raise RuntimeError("killed by the test")

    monkeypatch.setattr(training, "GenPASStream", Stopped)
    with pytest.raises(SystemExit):
        train.main(["--config", str(settings), "--out", str(tmp_path)])
    monkeypatch.undo()
    train.main(["--config", str(settings), "--out", str(tmp_path)])
    assert "Going on after step 12," in capsys.readouterr().err
    found, expected = (json.loads((folder / "results.json").read_text()) for folder in (tmp_path, trained))
    losses = [[point["train_loss"] for point in results["curve"]] for results in (found, expected)]
    assert losses[0] == losses[1]
    assert (found["test"], found["best_valid"]) == (expected["test"], expected["best_valid"])


def test_windows_train_and_go_on(settings: Path, tmp_path: Path, capsys: Any, monkeypatch: Any):
    class Stopped(GenPASStream):
        def step_done(self) -> None:
            super().step_done()
            if self.epoch == 1:
                raise RuntimeError("killed by the test")

    def run(name: str) -> Any:
        changes = ["encoder=causal", "genpas_targets=parallel", "eval_step=0"]
        train.main(["--config", str(settings), "--out", str(tmp_path / name), *changes])
        return json.loads((tmp_path / name / "results.json").read_text())

    expected = run("unbroken")
    monkeypatch.setattr(training, "GenPASStream", Stopped)
    with pytest.raises(SystemExit):
        run("again")
    monkeypatch.undo()
    found = run("again")
    assert "Going on after step" in capsys.readouterr().err
    losses = [[point["train_loss"] for point in results["curve"]] for results in (found, expected)]
    assert losses[0] == losses[1] and losses[0][1] < losses[0][0]
    assert found["test"] == expected["test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torchrec_output=gather"], "output is 'gather', but TIGER's output layer is over the codes of a level"),
        (["torchrec={output: sampled, negatives: 8}"], "output is 'sampled', but TIGER's"),
        (["d_model=6"], "The token table of TIGER has 6 columns; a sharded one needs a multiple of 4. Change d_m"),
        (["beams=4"], "topk is 5, but TIGER ranks only the 4 items of its beams"),
        (
            ["genpas_targets=parallel"],
            "parallel is not possible with TIGER: its encoder reads later items too. Set encoder: causal",
        ),
        (["beems=4"], "There is no key 'beems' for TIGER. Did you mean 'beams'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(arguments: list[str], message: str, settings: Path, tmp_path: Path, capsys: Any):
    with pytest.raises(SystemExit) as exit_:
        train.main(["--config", str(settings), "--out", str(tmp_path / "run"), *arguments])
    assert exit_.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line


def test_learning_rates_fall_as_in_recboles_trainer(settings: Path, tmp_path: Path, monkeypatch: Any):
    rates, set_rates = [], Run.set_rates

    def recorded(run: Run) -> None:
        set_rates(run)
        tables = {kernel.get_learning_rate() for kernel in table_kernels(run.sharded)}
        rates.append([run.optimizer.param_groups[0]["lr"], *tables])

    monkeypatch.setattr(Run, "set_rates", recorded)
    train.main(["--config", str(settings), "--out", str(tmp_path), "learning_rate_decay=linear", "eval_step=0"])
    assert rates == [pytest.approx([0.01, 0.1]), pytest.approx([0.005, 0.05])]
