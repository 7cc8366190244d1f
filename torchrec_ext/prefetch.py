"""Reading ahead: the next items are made on a thread of their own while this one is in use."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import SimpleQueue
from typing import TypeVar

from genpas_plugins.support.errors import whole_number

Item = TypeVar("Item")

_END = object()


def prefetched(source: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Return the items of `source`, in its order, read ahead by one daemon thread.

    Nothing happens before the first `next`, which calls `iter(source)` in the calling thread and starts the reader.
    From then on the reader alone calls the source, until it ends or raises, and is at most `depth` items ahead of what
    was handed out. Whatever the source raises is raised here, after the items before it, with its own traceback.

    `close()` – also by leaving the generator to the garbage collector – waits for the item being read and ends the
    thread; items read ahead are dropped. A loop left early should close it, as `contextlib.closing` does.

    The thread starts with torch's defaults (gradients on, CUDA device 0): a source that makes tensors on a device names
    it with its index.

    source : what to read; from the first `next` on nobody else may read it
    depth  : items held ready at most, at least 1

    Raises InputError if depth is not a whole number from 1 on.

    >>> list(prefetched("abc"))
    ['a', 'b', 'c']
    """
    return _read_ahead(source, whole_number("depth", depth, 1))


def _read_ahead(source: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    items = iter(source)
    # A bounded queue would let the reader hold one item more, in its hand; so it asks for room before it reads.
    room = threading.Semaphore(depth)
    closed = threading.Event()
    ready: SimpleQueue[tuple[Item | object, BaseException | None]] = SimpleQueue()

    def read() -> None:
        try:
            while room.acquire() and not closed.is_set():
                ready.put((next(items), None))
        except StopIteration:
            ready.put((_END, None))
        except BaseException as error:
            ready.put((_END, error))

    reader = threading.Thread(target=read, name="prefetched", daemon=True)
    reader.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            room.release()
            yield item  # type: ignore[misc]  # what is not _END came from `items`
    finally:
        closed.set()
        room.release()
        if reader is not threading.current_thread():  # where the garbage collector happens to run
            reader.join()
