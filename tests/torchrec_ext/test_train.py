"""The training command in one process: what it writes, that it goes on exactly, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

pytest.importorskip("torchrec")
pytest.importorskip("recbole")

from genpas_plugins import SequenceStore
from genpas_plugins.sampling.train_users import keep_users
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.folder_lock import LOCK, lock_folder
from torchrec_ext import train
from torchrec_ext.stream import GenPASStream
from torchrec_ext.training import loop, ranks
from torchrec_ext.training import run as training

Trained = tuple[Path, dict[str, Any]]


def run(settings: Path, out: Path, *more: str) -> None:
    train.main(["--config", str(settings), "--out", str(out), *more])


def refused(capsys: pytest.CaptureFixture[str], settings: Path, out: Path, *more: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        run(settings, out, *more)
    assert exit_.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def learnt(folder: Path) -> dict[str, Any]:
    results = json.loads((folder / "results.json").read_text())
    curve = [{name: value for name, value in point.items() if name != "seconds"} for point in results["curve"]]
    return {"curve": curve, **{name: results[name] for name in ("test", "best_valid", "best_epoch", "pairs_seen")}}


@pytest.fixture(scope="module")
def trained(tiny_settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(tiny_settings, folder)
    return folder


def test_results_say_what_was_trained_on_and_how_it_went(trained: Path):
    results = json.loads((trained / "results.json").read_text())
    assert results["trained_on"]["strategy"] == "sampled"
    assert results["trained_on"]["kl_validation"] > 0
    assert (results["epochs"], results["steps"], results["pairs_seen"]) == (2, 20, 470)
    assert [point["pairs"] for point in results["curve"]] == [235, 470]
    assert results["curve"][1]["train_loss"] < results["curve"][0]["train_loss"]
    best = max(results["curve"], key=lambda point: (point["validation"]["ndcg@5"], point["epoch"]))
    assert results["best_epoch"] == best["epoch"]
    assert results["best_valid"] == best["validation"]
    assert set(results["test"]) == {"ndcg@5", "recall@5"}
    assert results["versions"]["torch"] == torch.__version__
    assert results["config"]["torchrec"]["learning_rate"] == 0.1


def test_recbole_loads_the_model_and_measures_the_same(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from recbole.utils import get_trainer

    from recbole_ext.checkpoints import load_data_and_model

    monkeypatch.chdir(tmp_path)  # RecBole logs into the working directory
    config, model, _, train_data, _, test_data = load_data_and_model(trained / "model.pth")
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train_data)
    figures = trainer.evaluate(test_data, load_best_model=False)
    assert dict(figures) == json.loads((trained / "results.json").read_text())["test"]


def test_a_share_of_the_users_trains_and_all_are_tested(
    tiny_settings: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    import numpy as np
    from recbole.trainer import Trainer

    from recbole_ext.checkpoints import load_data_and_model

    run(tiny_settings, tmp_path / "run", "genpas_train_users=0.3", "genpas_pairs_per_epoch=null", "epochs=1")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    # RecBole numbers users from 1 and holds two items out.
    lengths = np.array([0, *(6 + user % 5 for user in range(30))])
    store = SequenceStore.from_arrays(np.ones(lengths.sum(), np.int64), np.cumsum([0, *lengths]))
    part = keep_users(store.view(held_out=2), 0.3, seed=7)
    said = {name: results["trained_on"][name] for name in ("train_users", "users", "users_left_out", "pairs_per_epoch")}
    assert said == {"train_users": 0.3, "users": 9, "users_left_out": 21, "pairs_per_epoch": part.n_pairs}
    assert results["pairs_seen"] == part.n_pairs
    assert results["config"]["data"]["interactions"] == part.lengths().sum()
    monkeypatch.chdir(tmp_path)  # RecBole logs into the working directory
    config, model, _, train_data, _, test_data = load_data_and_model(tmp_path / "run" / "model.pth")
    assert np.array_equal(train_data.stream.view.lengths(), part.lengths()) and len(test_data._dataset) == 30
    assert dict(Trainer(config, model).evaluate(test_data, load_best_model=False)) == results["test"]
    said = refused(capsys, tiny_settings, tmp_path / "run", "genpas_train_users=0.5", "genpas_pairs_per_epoch=null")
    assert "genpas.train_users was 0.3 and is 0.5 now" in said
    assert "train_users must be a number above 0" in refused(
        capsys, tiny_settings, tmp_path / "none", "genpas_train_users=0"
    )


def test_a_finished_run_says_so_and_prints_its_results(trained: Path, tiny_settings: Path, capsys: Any):
    before = (trained / "results.json").read_text()
    run(tiny_settings, trained, "--json")
    said = capsys.readouterr()
    assert "finished" in said.err
    assert json.loads(said.out) == json.loads(before)
    assert (trained / "results.json").read_text() == before


class Stopped(GenPASStream):
    """A stream whose training dies after `last` steps."""

    last = 0

    def step_done(self) -> None:
        super().step_done()
        if self.epoch * len(self) + self.step == self.last:
            raise RuntimeError("killed by the test")


@pytest.mark.parametrize(("after", "saved"), [(5, 3), (10, 9), (17, 15)])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    after: int, saved: int, *, trained: Path, tiny_settings: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
):
    monkeypatch.setattr(training, "GenPASStream", Stopped)
    monkeypatch.setattr(Stopped, "last", after)
    with pytest.raises(SystemExit) as exit_:
        run(tiny_settings, tmp_path)
    assert exit_.value.code == 1
    monkeypatch.undo()
    assert not (tmp_path / "results.json").exists()
    capsys.readouterr()
    run(tiny_settings, tmp_path, "torchrec_keep_last=3", "eval_batch_size=7", "genpas_alpha=1")
    assert f"Going on after step {saved}," in capsys.readouterr().err
    assert learnt(tmp_path) == learnt(trained)


def test_more_epochs_go_on_from_a_finished_run(trained: Path, tiny_settings: Path, tmp_path: Path, capsys: Any):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    run(tiny_settings, folder, "epochs=3")
    assert "Going on after step 20" in capsys.readouterr().err
    curve = learnt(folder)["curve"]
    assert [point["epoch"] for point in curve] == [1, 2, 3]
    assert curve[:2] == learnt(trained)["curve"]
    assert "a run of 3 epochs; epochs is 2" in refused(capsys, tiny_settings, folder)


def test_another_run_is_neither_gone_on_with_nor_deleted(trained: Path, tiny_settings: Path, capsys: Any):
    said = refused(capsys, tiny_settings, trained, "seed=8", "torchrec_sharding=table_wise")
    assert "seed was 7 and is 8 now; torchrec.sharding was 'row_wise' and is 'table_wise' now" in said
    assert "--fresh" in said
    assert (trained / "results.json").exists()


def test_fresh_deletes_the_run_and_nothing_else(trained: Path, tiny_settings: Path, tmp_path: Path, capsys: Any):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "notes.txt").write_text("mine")
    run(tiny_settings, folder, "--fresh", "epochs=1", "seed=8")
    assert "Started over: deleted results.json, model.pth, tensorboard, checkpoints" in capsys.readouterr().err
    assert (folder / "notes.txt").read_text() == "mine"
    assert len(learnt(folder)["curve"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        ["torchrec={output: sampled, negatives: 8}"],
        ["learner=sgd", "torchrec_optimizer=adagrad", "torchrec_output=gather"],
        ["eval_step=0", "genpas_loss={name: gbce, negatives: 8}"],
    ],
    ids=["sampled", "other optimizers", "no validation, gbce"],
)
def test_other_ways_of_training(change: list[str], tiny_settings: Path, tmp_path: Path):
    run(tiny_settings, tmp_path, *change)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["curve"][0]["train_loss"] < 5
    if "eval_step=0" in change:
        assert results["best_epoch"] is None
        assert results["tested_weights"] == "last"


def test_a_run_that_gets_worse_stops_early(tiny_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from recbole.utils import early_stopping

    scores = iter([0.2, 0.3, 0.1])  # how far a real run gets depends on the machine
    monkeypatch.setattr(loop, "early_stopping", lambda _, *rest, **more: early_stopping(next(scores), *rest, **more))
    run(tiny_settings, tmp_path, "stopping_step=0", "epochs=6")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["stopped_early"]
    assert (results["epochs"], results["best_epoch"]) == (3, 2)


PARALLEL = ("genpas_targets=parallel", "mask_history=true")


@pytest.fixture(scope="module")
def trained_on_windows(tiny_settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of two epochs on windows, evaluated without what users have taken."""
    folder = tmp_path_factory.mktemp("windows") / "run"
    run(tiny_settings, folder, *PARALLEL)
    return folder


def test_a_run_on_windows_trains_as_many_targets_in_fewer_steps_and_says_so(trained_on_windows: Path, trained: Path):
    found, single = (json.loads((folder / "results.json").read_text()) for folder in (trained_on_windows, trained))
    assert found["config"]["genpas"]["targets"] == "parallel"
    assert (found["mask_history"], single["mask_history"]) == (True, False)
    assert found["pairs_seen"] == single["pairs_seen"] == 470
    assert [point["pairs"] for point in found["curve"]] == [235, 470]
    assert found["steps"] == single["steps"]  # as many targets a step, of fewer windows
    assert found["curve"][1]["train_loss"] < found["curve"][0]["train_loss"]


def test_recbole_measures_the_masked_figures_too(
    trained_on_windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    test_recbole_loads_the_model_and_measures_the_same(trained_on_windows, tmp_path, monkeypatch)


def test_a_stopped_run_on_windows_goes_on_as_if_it_had_not_been(
    trained_on_windows: Path, tiny_settings: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
):
    monkeypatch.setattr(training, "GenPASStream", Stopped)
    monkeypatch.setattr(Stopped, "last", 17)
    with pytest.raises(SystemExit):
        run(tiny_settings, tmp_path, *PARALLEL)
    monkeypatch.undo()
    capsys.readouterr()
    assert "genpas.targets was 'parallel' and is 'single' now" in refused(capsys, tiny_settings, tmp_path)
    run(tiny_settings, tmp_path, *PARALLEL)
    assert "Going on after step 15," in capsys.readouterr().err
    assert learnt(tmp_path) == learnt(trained_on_windows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torchrec_shardin=row_wise"], "torchrec has no key 'shardin'. Did you mean 'sharding'"),
        (["torchrec_optimizer=adam"], "needs a CUDA device"),
        (["torchrec_memory_per_rank=100"], "needs 1312 bytes on a rank"),
        (["train_batch_size=0"], "train_batch_size must be a whole number from 1 on"),
        (["clip_grad_norm={max_norm: 5}"], "clip_grad_norm"),
        (["topk=[50]", "valid_metric=NDCG@50"], "topk asks for the 50 best items; the data have 40"),
        (["metrics=[GAUC]", "valid_metric=GAUC@5"], "GAUC cannot be computed for a sharded model"),
        (["hidden_size=6"], "needs a multiple of 4"),
        (["n_heads=3"], "SASRec refuses these settings: The hidden size .8. is not a multiple"),
        (["MAX_ITEM_LIST_LENGTH=x"], "MAX_ITEM_LIST_LENGTH"),
        (["--model", "SASReck"], "RecBole has no model 'SASReck'"),
        (["--dataset", "nowhere"], "RecBole cannot read the data set 'nowhere'"),
        (["--modell", "SASRec"], "'--modell' is no option of `python -m torchrec_ext.train`"),
        (["genpas={strategy: sampled}"], "strategy sampled needs alpha, beta and gamma"),
        (["epoch=2"], "There is no key 'epoch' for SASRec. Did you mean 'epochs'"),
        (["torchrec.keep_last=2"], "no key 'torchrec.keep_last'. Did you mean 'torchrec_keep_last'"),
        (["--model", "BERT4Rec"], "BERT4Rec masks or crops histories itself"),
        (["--config", "missing.yaml"], "missing.yaml does not exist"),
        (["mask_history=1"], "the command line: mask_history must be true or false, not 1"),
        (["mask_histroy=true"], "no key 'mask_histroy'. Did you mean 'mask_history'"),
        (["--model", "LightSANs", "genpas_targets=parallel"], "LightSANs: its output .* targets: single"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(
    arguments: list[str], message: str, tiny_settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert re.search(message, refused(capsys, tiny_settings, tmp_path / "run", *arguments))
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_setting_that_nobody_wrote_is_not_named(tiny_settings: Path, tmp_path: Path, capsys: Any):
    file = tmp_path / "bpr.yaml"
    file.write_text("# a loss that needs negatives\nloss_type: BPR\n")
    said = refused(capsys, tiny_settings, tmp_path / "run", "--config", str(file))
    assert said.startswith(f"error: {file}, line 2: loss_type BPR")


def test_without_a_genpas_section_nothing_is_trained(tiny_settings: Path, tmp_path: Path, capsys: Any):
    settings = json.loads(tiny_settings.read_text())
    del settings["genpas"]
    (tmp_path / "a.yaml").write_text(json.dumps(settings))
    assert "There is no genpas section" in refused(capsys, tmp_path / "a.yaml", tmp_path / "run")


def test_a_folder_of_something_else_is_left_alone(tiny_settings: Path, tmp_path: Path, capsys: Any):
    (tmp_path / "thesis.tex").write_text("precious")
    assert "no run's folder" in refused(capsys, tiny_settings, tmp_path, "--fresh")
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_in_which_a_run_is_at_work_is_refused(tiny_settings: Path, tmp_path: Path, capsys: Any):
    with lock_folder(tmp_path):
        assert "another run is at work" in refused(capsys, tiny_settings, tmp_path, "--fresh")
    assert [file.name for file in tmp_path.iterdir()] == [LOCK]


def test_a_checkpoint_directory_that_is_a_file_is_refused(tiny_settings: Path, tmp_path: Path, capsys: Any):
    (tmp_path / "checkpoints").write_text("")
    assert "checkpoints is a file" in refused(capsys, tiny_settings, tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run(tiny_settings: Path, tmp_path: Path, capsys: Any):
    assert "The loss is" in refused(
        capsys, tiny_settings, tmp_path, "torchrec_learning_rate=1e38", "learning_rate=1e37"
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "World size mismatch: RANK, WORLD_SIZE set but not LOCAL_RANK, MASTER_ADDR"),
        ({"WORLD_SIZE": "2"}, "World size mismatch: WORLD_SIZE set but not RANK"),
        (
            {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "h", "MASTER_PORT": "1"},
            "World size mismatch: RANK is 2, LOCAL_RANK 0, WORLD_SIZE 2",
        ),
        (
            {"RANK": "a", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "h", "MASTER_PORT": "1"},
            "RANK='a'.* must be numbers",
        ),
    ],
)
def test_half_an_environment_is_refused(environment: dict[str, str], message: str):
    with pytest.raises(InputError, match=message):
        ranks.place(environment)


def test_ranks_of_a_new_life_do_not_meet_the_dead():
    shared = dist.HashStore()
    lives = []
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda rank: ranks.of_this_life(shared, rank, 3), range(3)))
        assert not any(store.check(["who"]) for store in found)
        found[0].set("who", "me")
        assert all(store.check(["who"]) for store in found)
        lives.append(found)
        shared.set("genpas/asks/2", "one who died before it was answered")


def test_batches_smaller_than_ranks_are_refused(make_ranks: Callable[[int], ranks.Ranks]):
    class Pairs:
        unit, size, targets_per_example = "pairs", 235, 1.0

    for size, message in ((2, "too few for 3 ranks"), (39, "last step of an epoch has 1 pairs for 3 ranks")):
        with pytest.raises(InputError, match=message):
            training._batches_of(Pairs(), {"train_batch_size": size, "MAX_ITEM_LIST_LENGTH": 5}, make_ranks(3))


@pytest.fixture
def make_ranks() -> Callable[[int], ranks.Ranks]:
    return lambda world_size: ranks.Ranks(0, world_size, 0, None)


def test_the_seeds_of_dropout_are_all_different():
    seeds = {training.step_seed(7, epoch, step, rank) for epoch in range(3) for step in range(9) for rank in range(4)}
    assert len(seeds) == 3 * 9 * 4


@pytest.mark.parametrize("learner", sorted(training.OPTIMIZERS))
def test_an_optimizer_made_ahead_steps_as_a_new_one(learner: str):
    config = {"learner": learner, "learning_rate": 0.1, "weight_decay": 0.2}
    torch.manual_seed(1)
    start, gradients = torch.randn(3, 2), torch.randn(4, 3, 2)

    def after(make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]) -> torch.Tensor:
        parameter = torch.nn.Parameter(start.clone())
        optimizer = make([parameter])
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        return parameter.detach()

    expected = after(lambda values: training.OPTIMIZERS[learner](values, lr=0.1, weight_decay=0.2))
    assert torch.equal(after(lambda values: training.dense_optimizer(config, values)), expected)


def test_files_are_a_list_and_an_option_with_one_value_is_refused_twice():
    parse = train._parser().parse_args
    given = parse(["--config", "a.yaml,b.yaml", "-c", r"c\,d.yaml", "--out", "run"])
    assert given.config == [Path("a.yaml"), Path("b.yaml"), Path("c,d.yaml")]
    for words in (["-o", "a", "--out", "b"], ["--model", "A", "-m", "B"], ["-d", "a", "-d", "a"]):
        with pytest.raises(InputError, match=f"{words[2]} is given 2 times"):
            parse(words)
