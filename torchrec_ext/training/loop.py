"""The training loop from drawn pairs to results.

    GenPASStream ──> genpas_stage (GPU) or a thread that reads ahead (CPU) ──> rows of the output layer ──┐
                                                                                                          ▼
    results.json, model.pth <── test, once <── validation, checkpoint, each epoch <── TorchRec's pipeline

A run is a pure function of its settings and the number of ranks. Pairs and negatives of a step follow from (seed,
epoch, step). Dropout is seeded before each step from (seed, epoch, step, rank). No state of a random generator is
saved. A resumed run on as many ranks has the same losses as an unbroken run: bit for bit on a CPU and up to the
order of atomic additions on a GPU. On another number of ranks the pairs are the same but the losses differ by
rounding and dropout.
"""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from recbole.utils import early_stopping
from torch import Tensor
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

import recbole_ext  # noqa: F401 – makes RecBole importable with today's numpy
from genpas_plugins.settings.torchrec import TorchRecConfig
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.console import Tell
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.folder_lock import lock_folder
from genpas_plugins.support.json_text import to_json
from torchrec_ext.batch import PairBatch
from torchrec_ext.checkpointing.checkpoints import Checkpoints
from torchrec_ext.evaluation import check_metrics
from torchrec_ext.training.folder import RunFolder, all_settings
from torchrec_ext.training.ranks import Ranks
from torchrec_ext.training.results import evaluate_run, finish
from torchrec_ext.training.run import Loaders, Run, batches, prepare, step_seed
from torchrec_ext.training.tensorboard import TensorBoard

LOG_EVERY = 20  # optimizer steps between two points of the loss curve

LETTING_GO = 60.0  # seconds that a run under torchrun waits for the folder


def train(
    config: Any,  # RecBole's with a `genpas` section, the same on every rank
    section: TorchRecConfig,
    loaders: Loaders,  # RecBole's whole loaders, on every rank
    ranks: Ranks,
    folder: RunFolder,  # on a disk that all ranks see; a run that is there goes on
    *,
    fresh: bool = False,  # delete the run that is there and begin anew
    tell: Tell = lambda step, done, total: None,  # called on rank 0 as tell(what, done, total) as work goes on
) -> dict[str, Any]:
    """Train, validate and test once: a collective call. Return the results.

    Raises InputError on every rank for unusable settings, a folder with another run or a loss that is not finite.
    """
    view = loaders.train.stream.view
    settings = all_settings(config.final_config_dict, section, view)
    if max(config["topk"]) > view.store.n_items:
        raise InputError(f"topk asks for the {max(config['topk'])} best items; the data have {view.store.n_items}.")
    check_metrics(config["metrics"], loaders.train._dataset.item_counter)
    ranks.together(lambda: folder.check(settings, fresh=fresh))
    done = None if fresh else ranks.together(lambda: folder.finished(config["epochs"]))
    if done is not None:
        ranks.say(f"{folder.path} holds this run, finished; these are its results. --fresh would train it again.")
        return done
    with _held(folder, ranks):
        ranks.together(lambda: folder.check(settings, fresh=fresh))  # no other run can change it from here on
        run = prepare(config, section, loaders, ranks)
        if ranks.rank == 0:
            if fresh and (removed := folder.clear()):
                ranks.say(f"Started over: deleted {', '.join(removed)} in {folder.path}.")
            write_text(folder.config, to_json(settings))
        dist.barrier(group=ranks.control)
        saved = Checkpoints(folder.checkpoints, keep_last=section.keep_last, process_group=ranks.control, log=ranks.say)
        state = run.state()
        if saved.load_newest(state) is not None:
            run.go_on(state["progress"])
            ranks.say(f"Going on after step {run.steps_done}, {run.record.seconds:.0f} seconds into the run.")
        board = TensorBoard(folder.tensorboard, rank=ranks.rank, steps_done=run.steps_done)
        with _written_alone(saved, ranks), board:
            while run.stream.epoch < config["epochs"] and not run.record.stopped:
                train_epoch(run, saved, board, tell)
                better = finish_epoch(run, board, tell)
                saved.save(run.steps_done, run.state(), best=better)
            saved.wait()
        return finish(run, saved, folder, settings, tell)


def train_epoch(run: Run, saved: Checkpoints, board: TensorBoard, tell: Tell) -> None:
    """Train the rest of the stream's epoch. Save every `checkpoint_every` steps except at the epoch's end."""
    stream, record = run.stream, run.record
    epoch, total = stream.epoch, stream.steps_per_epoch
    run.sharded.train()
    run.set_rates()
    pipeline = TrainPipelineSparseDist(
        run.sharded,
        run.optimizer,
        run.device,
        execute_all_batches=True,
        custom_model_fwd=lambda batch: _loss_of(run, batch),
    )
    losses = torch.zeros((), dtype=torch.float64, device=run.device)
    since, counted = time.perf_counter(), 0
    started, logged_pairs = since, run.pairs_seen

    def count() -> None:
        """Bring the record up to date. Between two calls losses and time are outside the record."""
        nonlocal since, counted
        total = losses.clone()
        dist.all_reduce(total)
        loss = float(total) / run.ranks.world_size
        record.loss, record.recent_loss = record.loss + loss, record.recent_loss + loss
        record.steps, record.recent_steps = record.steps + counted, record.recent_steps + counted
        now = time.perf_counter()
        record.seconds, record.training_seconds = record.seconds + now - since, record.training_seconds + now - since
        losses.zero_()
        since, counted = now, 0
        if not math.isfinite(loss):
            raise InputError(
                f"The loss is {loss} at step {run.steps_done}. Lower learning_rate (the model's) or "
                "torchrec.learning_rate (the tables') and start with --fresh."
            )

    with closing(batches(run)) as source:
        for step in range(stream.step, total):
            torch.manual_seed(step_seed(stream.stream.seed, epoch, step, run.ranks.rank))
            losses += pipeline.progress(source)
            stream.step_done()
            counted += 1
            tell(f"epoch {epoch + 1}", step + 1, total)
            done = run.steps_done
            if done % LOG_EVERY == 0:
                count()
                board.add(done, {"train/loss": record.recent_loss / record.recent_steps})
                speed = (run.pairs_seen - logged_pairs) / max(time.perf_counter() - started, 1e-9)
                board.add(done, {"train/pairs_per_second": speed})
                started, logged_pairs = time.perf_counter(), run.pairs_seen
                record.recent_loss, record.recent_steps = 0.0, 0
            every = run.section.checkpoint_every
            if every and done % every == 0 and step + 1 < total:
                count()
                saved.save(done, run.state())
        count()
    pipeline.detach()  # evaluation looks rows up without it


def finish_epoch(run: Run, board: TensorBoard, tell: Tell) -> bool:
    """Validate if due and add the epoch to the curve. Return whether it is the best so far."""
    record, config, epoch = run.record, run.config, run.stream.epoch
    point: dict[str, Any] = {
        "epoch": epoch,
        "steps": run.steps_done,
        "pairs": run.pairs_seen,
        "train_loss": record.loss / max(record.steps, 1),
    }
    record.loss, record.steps = 0.0, 0
    board.add(run.steps_done, {"train/epoch_loss": point["train_loss"]})
    better = False
    eval_step = min(config["eval_step"], config["epochs"])
    if eval_step > 0 and epoch % eval_step == 0:
        started = time.perf_counter()
        point["validation"] = evaluate_run(run, run.validation, f"validation {epoch}", tell)
        score = point["validation"][config["valid_metric"].lower()]
        record.seconds += time.perf_counter() - started
        bigger = config["valid_metric_bigger"]
        worst = -math.inf if bigger else math.inf
        best, record.not_better, record.stopped, better = early_stopping(
            score,
            worst if record.best_score is None else record.best_score,
            record.not_better,
            max_step=config["stopping_step"],
            bigger=bigger,
        )
        record.best_score = float(best)
        if better:
            record.best_epoch = epoch
        board.add(run.steps_done, {f"validation/{name}": value for name, value in point["validation"].items()})
    point["seconds"] = record.seconds
    record.curve.append(point)
    run.ranks.say(_line(point, config["valid_metric"].lower(), better))
    return better


def _loss_of(run: Run, batch: PairBatch | None) -> tuple[Tensor, Tensor]:
    with torch.autocast(run.device.type, torch.bfloat16, enabled=run.config["enable_amp"]):
        loss = run.sharded(batch).loss
    return loss, loss.detach()


def _line(point: dict[str, Any], metric: str, better: bool) -> str:
    line = f"epoch {point['epoch']}: loss {point['train_loss']:.4f}"
    if "validation" in point:
        line += f", validation {metric.upper()} {point['validation'][metric]:.4f}{' (best so far)' if better else ''}"
    return f"{line}, {point['pairs']:,} pairs, {point['seconds']:.0f} s"


@contextmanager
def _held(folder: RunFolder, ranks: Ranks) -> Iterator[None]:
    """Let rank 0 lock the folder for this run. Raises InputError on every rank if another run holds it."""
    # torchrun may start a rank 0 anew, on another machine, before the last one has quite gone.
    wait = LETTING_GO if "TORCHELASTIC_RUN_ID" in os.environ else 0
    with ExitStack() as stack:
        ranks.together(lambda: stack.enter_context(lock_folder(folder.path, wait=wait)) if ranks.rank == 0 else None)
        yield


@contextmanager
def _written_alone(saved: Checkpoints, ranks: Ranks) -> Iterator[None]:
    """Finish the checkpoint under way however the block ends. The other ranks may be gone."""
    try:
        yield
    except BaseException:
        if ranks.world_size == 1:
            saved.wait()
        raise
