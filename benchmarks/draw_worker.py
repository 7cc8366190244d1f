"""Draw what stdin asks for and answer with processor seconds: a script that runs in this tree and in older ones.

    PYTHONPATH=TREE python -P benchmarks/draw_worker.py STORE BACKEND

A line of stdin is a unit and a policy, as "pairs 1,0,0". The unit is pairs, batches of pairs, or windows. The answer is
[seconds, targets, pairs or windows], or null if TREE lacks the policy.
"""

from __future__ import annotations

import json
import math
import sys
import time
from functools import cache, partial
from typing import Any

import numpy as np

from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.sampling.stream import window_stream

NAMED = ("last_target", "multi_target", "slide_window")
MAX_LENGTH, BATCH, TARGETS = 50, 2048, 1 << 17


def main() -> None:
    """Answer every line of stdin."""
    store, backend = SequenceStore.open(sys.argv[1]).leave_last_out().train, sys.argv[2]
    for line in sys.stdin:
        unit, policy = line.split()
        print(json.dumps(measured(store, backend, unit, policy)), flush=True)


def measured(view: Any, backend: str, unit: str, policy: str) -> tuple[float, float, int] | None:
    """Return processor seconds, targets, and pairs or windows of a turn."""
    try:
        stream, draw = made(view, backend, unit, policy)
    except ImportError:
        return None
    examples = min(stream.size, math.ceil(TARGETS * stream.size / stream.pairs_per_epoch))
    batches = [np.arange(first, min(first + BATCH, examples)) for first in range(0, examples, BATCH)]
    begin, drawn = time.process_time(), 0
    for indices in batches:
        found = draw(1, indices)
        drawn += len(found[1]) if unit == "windows" else len(indices)
    return time.process_time() - begin, examples * stream.pairs_per_epoch / stream.size, drawn


@cache
def made(view: Any, backend: str, unit: str, policy: str) -> tuple[Any, Any]:
    """Return the stream and its method that draws addresses, compiled already."""
    of: Any
    if "," in policy:
        of = SamplingPolicy(*map(float, policy.split(",")))
    elif policy in NAMED:
        of = SamplingPolicy.named(policy)
    else:
        from genpas_plugins.sampling.constructions import construction_of

        of = construction_of(policy)
    given: Any = {"seed": 7, "backend": "numpy" if backend == "torch" else backend}
    if unit == "windows":
        stream: Any = window_stream(view, of, max_length=MAX_LENGTH, **given)
    else:
        stream = pair_stream(view, of, **given)
    draw = partial(stream.batch, max_length=MAX_LENGTH) if unit == "batches" else getattr(stream, unit)
    if backend == "torch":
        from genpas_plugins.neural.device.device_stream import DeviceStream

        draw = getattr(DeviceStream.of(stream), unit)
    draw(0, np.arange(min(BATCH, stream.size)))
    return stream, draw


if __name__ == "__main__":
    main()
