"""Measure how long a training step waits for its input, and the pairs/s of a core and of a device."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid
from benchmarks.sampler import POLICIES
from benchmarks.torchrec_setup import TorchRecSizes, batches, recommender

WAITING, STAGE, DEVICE = "waiting", "stage", "device"
BACKENDS = ("numpy", "numba")
SASREC, SHORT = "SASRec", "10 ms asleep"
_WARM = 3  # steps before the clock runs: the first batch of a reader is always waited for
_COPIED = 1 << 28


def jobs(sizes: TorchRecSizes, path: Path, *, device: str | None) -> Iterator[Job]:
    """Yield the jobs. `device` is the CUDA device or None."""
    for step, policy, steps in (
        (SASREC, "sampled 1,0,0", sizes.waiting_steps),
        *((SHORT, policy, sizes.short_steps) for policy in sizes.policies),
    ):
        arguments: dict[str, Any] = {
            "path": path,
            "step": step,
            "policy": policy,
            "batch": sizes.batch,
            "steps": steps,
            "repeats": sizes.waiting_repeats,
        }
        yield Job(WAITING, {"step": step, "strategy": policy}, "torchrec_input", "waiting", arguments)
    for policy, batch in itertools.product(sizes.policies, sizes.input_batches):
        arguments = {
            "path": path,
            "policy": policy,
            "batch": batch,
            "count": max(1, sizes.input_pairs // batch),
            "repeats": sizes.input_repeats,
        }
        yield Job(STAGE, {"strategy": policy, "batch": batch}, "torchrec_input", "stage", arguments)
    for policy in sizes.policies if device else ():
        arguments = {
            "path": path,
            "policy": policy,
            "batch": sizes.device_batch,
            "count": 100,
            "repeats": sizes.input_repeats,
            "device": device,
        }
        label = {"strategy": policy, "batch": sizes.device_batch}
        yield Job(DEVICE, label, "torchrec_input", "on_device", arguments)


def waiting(*, path: str, step: str, policy: str, batch: int, steps: int, repeats: int) -> dict[str, Any]:
    """Return the share of a training step that waits for the batch.

    ways : [{"way", "backend", "share": spread, "wait_s": spread, "step_s": spread}]; a share is Σ wait / Σ step of a
           repeat, a step runs from asking for its batch to the next time of asking
    """
    from torchrec_ext.prefetch import prefetch

    streams = {backend: batches(path, POLICIES[policy], batch, backend=backend) for backend in BACKENDS}
    train = (
        sasrec_step(streams["numpy"].stream.view.store.n_items + 1) if step == SASREC else lambda _: time.sleep(0.01)
    )

    def run(source: Iterator[Any]) -> tuple[float, float]:
        for number in range(_WARM + steps):
            if number == _WARM:
                begin, waited = time.perf_counter(), 0.0
            asked = time.perf_counter()
            pairs = next(source)
            answered = time.perf_counter()
            train(pairs)
            if number >= _WARM:
                waited += answered - asked
        return waited / steps, (time.perf_counter() - begin) / steps

    ways: dict[tuple[str, str], Callable[[], Iterator[Any]]] = {}
    for backend, stream in streams.items():
        ways["no thread", backend] = partial(iter, stream)
        ways["one thread", backend] = partial(prefetch, stream)
    # The usual way to read ahead in torch, as a peer.
    ways["worker process", "numba"] = lambda: iter(streams["numba"].loader(1))
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, begin_epoch in ways.items():
            # The iterator dies with the call, and its thread or process with it.
            seen[way].append(run(begin_epoch()))
    return {
        "batch": batch,
        "steps": steps,
        "ways": [
            {
                "way": way,
                "backend": backend,
                "share": timing.spread(wait / whole for wait, whole in of),
                "wait_s": timing.spread(wait for wait, _ in of),
                "step_s": timing.spread(whole for _, whole in of),
            }
            for (way, backend), of in seen.items()
        ],
    }


def sasrec_step(n_rows: int) -> Callable[[Any], None]:
    """Return a function that trains SASRec on a batch, sharded on one rank."""
    import torch
    from torch import distributed

    from torchrec_ext.shard import own_rows, shard, with_output_rows
    from torchrec_ext.tables import dense_parameters

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    sharded = shard(recommender(n_rows))
    dense = torch.optim.Adam(dense_parameters(sharded).values())
    rows = own_rows(sharded)

    def step(pairs: Any) -> None:
        dense.zero_grad()
        sharded(with_output_rows(pairs, "all", rows)).loss.backward()
        dense.step()

    return step


def stage(path: str, policy: str, batch: int, count: int, repeats: int) -> dict[str, Any]:
    """Return the pairs/s of the stage, the stream and a copy of a batch's bytes on one core.

    rates : {"stage", "numpy", "numba", "copy"}, spreads; batch_bytes : of all tensors of a batch
    """
    import torch

    torch.set_num_threads(1)
    ways = {backend: batches(path, POLICIES[policy], batch, backend=backend) for backend in BACKENDS}
    tensors = tensors_of(ways["numpy"].batch(0, 0))
    goals = [torch.empty_like(tensor) for tensor in tensors]

    def copy() -> int:
        for _ in range(count):
            for goal, tensor in zip(goals, tensors, strict=True):
                goal.copy_(tensor)
        return count * batch

    stages: dict[str, Callable[[], int]] = {"stage": make_stage_loop(ways["numpy"], "cpu", count)}
    stages |= {backend: make_stream_loop(stream, count) for backend, stream in ways.items()}
    rates = timing.rates({**stages, "copy": copy}, repeats)
    return {"batch_bytes": sum(tensor.nbytes for tensor in tensors), "rates": rates}


def on_device(*, path: str, policy: str, batch: int, count: int, repeats: int, device: str) -> dict[str, Any]:
    """Return pairs/s of the stage on a device and the share of memory bandwidth that it takes.

    rates : {"stage": spread}; bytes_per_s : of writing batches; bandwidth : bytes read and written a second by a copy
    """
    import torch

    stream = batches(path, POLICIES[policy], batch)
    rates = timing.rates({"stage": make_stage_loop(stream, device, count)}, repeats)
    source = torch.ones(_COPIED, dtype=torch.uint8, device=device)
    goal = torch.empty_like(source)

    def copy() -> int:
        for _ in range(10):
            goal.copy_(source)
        _wait_for(device)
        return 2 * 10 * _COPIED

    batch_bytes = sum(tensor.nbytes for tensor in tensors_of(stream.batch(0, 0)))
    return {
        "device": torch.cuda.get_device_name(device) if torch.cuda.is_available() else device,
        "batch_bytes": batch_bytes,
        "rates": rates,
        "bandwidth": timing.rates({"copy": copy}, repeats)["copy"],
    }


def make_stage_loop(stream: Any, device: str, count: int) -> Callable[[], int]:
    """Return a function that takes an epoch's first batches from the stage."""
    from torchrec_ext.pipeline_stage import genpas_stage, stage_batches

    made = genpas_stage(stream, device)

    def iterate() -> int:
        # Not one address more than is counted: the stage makes batches ahead.
        taken = list(itertools.islice(stream.addresses(), count))
        pairs = sum(len(batch) for batch in stage_batches(taken, [made]))
        _wait_for(device)
        return pairs

    return iterate


def make_stream_loop(stream: Any, count: int) -> Callable[[], int]:
    """Return a function that takes an epoch's first batches from the stream."""
    return lambda: sum(len(batch) for batch in itertools.islice(stream, count))


def tensors_of(batch: Any) -> list[Any]:
    """Return all tensors of a PairBatch."""
    return [batch.features.values(), batch.features.lengths(), batch.weights, batch.address]


def goals(sections: dict[str, list[dict[str, Any]]]) -> list[Goal]:
    """Compare the waiting share of a step with two per cent, for one reading thread."""
    return [
        Goal(
            WAITING,
            f"{record['step']}, {record['strategy']}, {of['backend']}: waiting for data / step, one thread",
            of["share"]["median"] * 100,
            2,
            False,
            "%",
        )
        for record in sections.get(WAITING, [])
        for of in record["ways"]
        if of["way"] == "one thread"
    ]


def tables(sections: dict[str, list[dict[str, Any]]]) -> list[Grid]:
    """Return the tables of the measurements that were made."""
    return [_waiting_table(sections), _stage_table(sections), _device_table(sections)]


def _waiting_table(sections: dict[str, list[dict[str, Any]]]) -> Grid:
    rows = [
        [
            record["step"],
            record["strategy"],
            of["way"],
            of["backend"],
            timing.text(of["share"], 3, 0.01),
            timing.text(of["wait_s"], 3, 1e-3),
            timing.text(of["step_s"], 0, 1e-3),
        ]
        for record in sections.get(WAITING, [])
        for of in record["ways"]
    ]
    head = ["step", "strategy", "reads ahead", "backend", "share of the step %", "wait ms", "step ms"]
    return Grid(
        "Waiting for data in a step: SASRec sharded on one rank, and a sleep that stands for a step on a device",
        head,
        rows,
    )


def _stage_table(sections: dict[str, list[dict[str, Any]]]) -> Grid:
    rows = []
    for record in sections.get(STAGE, []):
        rates: Sequence[timing.Spread] = [record["rates"][name] for name in ("stage", "numpy", "numba", "copy")]
        of_stage, numpy, numba, copy = rates
        rows.append(
            [
                record["strategy"],
                str(record["batch"]),
                *(timing.text(of, 3, 1e6) for of in rates),
                f"{of_stage['max'] / numpy['max']:.2f}",
                f"{of_stage['max'] / numba['max']:.2f}",
                f"{of_stage['max'] / copy['max'] * 100:.2f} %",
            ]
        )
    made = ["stage", "stream, numpy", "stream, numba", "copy"]
    head = ["strategy", "batch", *made, "stage / numpy", "stage / numba", "stage / copy"]
    return Grid("Input alone, one core: million pairs/s; ratios of the fastest repeats", head, rows)


def _device_table(sections: dict[str, list[dict[str, Any]]]) -> Grid:
    rows = [
        [
            record["device"],
            record["strategy"],
            f"{record['batch']:,}",
            timing.text(record["rates"]["stage"], 1, 1e6),
            timing.text(record["bandwidth"], 0, 1e9),
            f"{device_share(record) * 100:.2f} %",
        ]
        for record in sections.get(DEVICE, [])
    ]
    head = ["device", "strategy", "batch", "million pairs/s", "copy, GB/s read and written", "share of it"]
    return Grid("Input alone, on the device", head, rows)


def device_share(record: dict[str, Any]) -> float:
    """Return the share of memory bandwidth that one write of the batches takes."""
    per_pair = record["batch_bytes"] / record["batch"]
    share: float = record["rates"]["stage"]["median"] * per_pair / record["bandwidth"]["median"]
    return share


def _wait_for(device: str) -> None:
    import torch

    if device != "cpu":
        torch.cuda.synchronize(device)
