"""Steps of `bench_gpu` that need torch alone: draws against numpy, losses against float64."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.neural.device.device_stream import DeviceStream
from genpas_plugins.neural.layers.catalogue_loss import weighted_catalogue_loss
from genpas_plugins.sampling.stream import window_stream

POLICIES = {
    "multi_target": SamplingPolicy.named("multi_target"),
    "slide_window": SamplingPolicy.named("slide_window"),
    "sampled 1,0,0": SamplingPolicy(1.0, 0.0, 0.0),
    "sampled 1,1,1": SamplingPolicy(1.0, 1.0, 1.0),
}


def machine(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Describe the device."""
    found: dict[str, Any] = {"device": str(device), "quick": quick, "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "name": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": torch.cuda.get_device_capability(device),
            "cuda": torch.version.cuda,
            "bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
        }
    yield found


def draws(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Compare drawn pairs and histories with numpy's, and measure pairs a second as a share of memory bandwidth."""
    random = np.random.default_rng(7)
    lengths = 4 + random.geometric(0.2, 500 if quick else 200_000)
    values = random.integers(1, 12_101, lengths.sum(), endpoint=True).astype(np.int32)
    view = SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=12_101).leave_last_out().train
    n, bandwidth = (256 if quick else 1 << 18), copy_rate(device, quick)
    for name, policy in POLICIES.items():
        for stream in (pair_stream(view, policy, seed=7), window_stream(view, policy, max_length=50, seed=7)):
            on_device, many = (
                DeviceStream.of(stream, device),
                min(n // (1 if stream.unit == "pairs" else 8), stream.size),
            )
            expected = stream.batch(3, np.arange(many), 50)
            batch = on_device.batch(3, np.arange(many), 50)
            found = (*batch.histories.jagged(batch.sizes.items), batch.targets.rows, batch.weights)
            wanted = (*expected.histories.jagged(), expected.targets.rows, expected.weights)
            same = all(np.array_equal(a.cpu().numpy(), b) for a, b in zip(found, wanted, strict=True))

            def draw(on_device: DeviceStream = on_device, many: int = many) -> None:
                drawn, _ = on_device.consecutive(4, 0, many, 50)
                drawn.histories.jagged(drawn.sizes.items)

            seconds, targets = timed(draw, device, 2 if quick else 10), len(expected.targets.rows)
            # Each history is read and written; each target has an address of three numbers, a row and a weight.
            moved = (2 * found[0].numel() * 4 + targets * (4 * 8 + 4)) / seconds
            yield {
                "policy": name,
                "unit": stream.unit,
                "equal_to_numpy": bool(same),
                "targets_per_second": targets / seconds,
                "share_of_copy_rate": moved / bandwidth,
                "copy_bytes_per_second": bandwidth,
            }


def losses(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Compare the loss over the catalogue and its gradients with float64's, in float32, TF32 and bfloat16."""
    targets, columns = (64, 16) if quick else (2048, 64)
    for rows in (300,) if quick else (12_102, 100_001):
        random = torch.Generator().manual_seed(0)
        hidden, table = (torch.randn(n, columns, generator=random) for n in (targets, rows))
        table *= 0.1
        items, weights = torch.randint(rows, (targets,), generator=random), torch.rand(targets, generator=random)
        exact = _loss(hidden.double(), table.double(), items, weights.double(), torch.float64)
        parts = [part.to(device) for part in (hidden, table, items, weights)]
        for kind in ("float32", "tf32", "bfloat16"):
            if kind == "tf32" and device.type != "cuda":
                continue
            torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
            dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
            found = _loss(*parts, dtype)

            def step(parts: list[Tensor] = parts, dtype: torch.dtype = dtype) -> None:
                _loss(*parts, dtype)

            yield {
                "rows": rows,
                "type": kind,
                "loss_error": abs(float(found[0]) / float(exact[0]) - 1),
                "gradient_errors": [relative(a, b) for a, b in zip(found[1:], exact[1:], strict=True)],
                "seconds_a_step": timed(step, device, 1 if quick else 5),
            }


def _loss(
    hidden: Tensor, table: Tensor, items: Tensor, weights: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    hidden, table = hidden.detach().requires_grad_(), table.detach().requires_grad_()
    with torch.autocast(hidden.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = weighted_catalogue_loss(hidden, table, items, weights)
    loss.backward()
    assert hidden.grad is not None and table.grad is not None
    return loss.detach(), hidden.grad, table.grad


def relative(found: Tensor, exact: Tensor) -> float:
    """Return the length of the difference over the length of the exact value."""
    return float((found.double().cpu() - exact).norm() / exact.norm())


def copy_rate(device: torch.device, quick: bool) -> float:
    """Return the bytes a second that a copy within the device's memory reads and writes."""
    source = torch.zeros(2**16 if quick else 2**28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / timed(lambda: target.copy_(source), device, 3)


def timed(call: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Return the seconds of the fastest call after one that warms up, device included."""
    fastest = float("inf")
    for repeat in range(repeats + 1):
        synchronize(device)
        begin = time.perf_counter()
        call()
        synchronize(device)
        if repeat:
            fastest = min(fastest, time.perf_counter() - begin)
    return fastest


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
