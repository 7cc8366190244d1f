"""Reading ahead: a thread makes the next items while this item is in use."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import SimpleQueue
from typing import TypeVar

from genpas_plugins.support.errors import whole_number

Item = TypeVar("Item")

_END = object()


def prefetch(source: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Return the items of `source` in its order while one daemon thread reads ahead.

    The first `next` calls `iter(source)` in the calling thread and starts the reader. From then on only the reader
    calls the source. It is at most `depth` items ahead. An error of the source is raised with its own traceback
    after the items before it.

    `close()` or the garbage collector waits for the item being read. It then drops items read ahead and ends the
    thread. Close the generator of a loop that ends early with `contextlib.closing`. The thread starts with torch's
    defaults (gradients on, CUDA device 0): a source that makes tensors on a device must give its index.

    Parameters
    ----------
    source : must not be read elsewhere after the first `next`
    depth : maximum number of items held ready; at least 1

    Raises
    ------
    InputError
        If depth is not a whole number from 1 on.

    Examples
    --------
    >>> list(prefetch("abc"))
    ['a', 'b', 'c']
    """
    return _read_ahead(source, whole_number("depth", depth, 1))


def _read_ahead(source: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    items = iter(source)
    # With a bounded queue the reader would hold one item more. So it asks for room before it reads.
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

    reader = threading.Thread(target=read, name="prefetch", daemon=True)
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
