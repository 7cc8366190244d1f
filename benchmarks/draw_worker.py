"""Draw what stdin asks for and answer with processor seconds: a script that runs in this tree and in older ones.

    PYTHONPATH=TREE python -P benchmarks/draw_worker.py STORE BACKEND

A line of stdin is a unit and a policy, as "pairs 1,0,0". The answer is [seconds, targets], or null if TREE lacks it.
"""

from __future__ import annotations

import json
import math
import sys
import time
from functools import cache
from typing import Any

import numpy as np

from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.sampling.stream import window_stream

MAX_LENGTH, BATCH, TARGETS = 50, 2048, 1 << 17


def main() -> None:
    """Answer every line of stdin."""
    store, backend = SequenceStore.open(sys.argv[1]).leave_last_out().train, sys.argv[2]
    for line in sys.stdin:
        unit, policy = line.split()
        print(json.dumps(measured(store, backend, unit, policy)), flush=True)


def measured(view: Any, backend: str, unit: str, policy: str) -> tuple[float, float] | None:
    """Return processor seconds and targets of a turn."""
    try:
        stream, draw = made(view, backend, unit, policy)
    except ImportError:
        return None
    examples = min(stream.size, math.ceil(TARGETS * stream.size / stream.pairs_per_epoch))
    batches = [np.arange(first, min(first + BATCH, examples)) for first in range(0, examples, BATCH)]
    begin = time.process_time()
    for indices in batches:
        draw(1, indices)
    return time.process_time() - begin, examples * stream.pairs_per_epoch / stream.size


@cache
def made(view: Any, backend: str, unit: str, policy: str) -> tuple[Any, Any]:
    """Return the stream and its method that draws addresses, compiled already."""
    of = SamplingPolicy(*map(float, policy.split(","))) if "," in policy else SamplingPolicy.named(policy)
    given: Any = {"seed": 7, "backend": "numpy" if backend == "torch" else backend}
    if unit == "pairs":
        stream: Any = pair_stream(view, of, **given)
    else:
        stream = window_stream(view, of, max_length=MAX_LENGTH, **given)
    draw = getattr(stream, unit)
    if backend == "torch":
        from genpas_plugins.neural.device.device_stream import DeviceStream

        draw = getattr(DeviceStream.of(stream), unit)
    draw(0, np.arange(min(BATCH, stream.size)))
    return stream, draw


if __name__ == "__main__":
    main()
