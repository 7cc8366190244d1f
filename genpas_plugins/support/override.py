"""Give one object other methods for the length of a block. Its class stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def override(owner: Any, **methods: Any) -> Iterator[None]:
    """Replace attributes of one object inside the block; blocks nest.

    Parameters
    ----------
    owner : any object with a `__dict__`
    methods : the replacements by attribute name; functions are called without `self`

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(name="outer")
    >>> with override(model, name="inner"):
    ...     model.name
    'inner'
    >>> model.name
    'outer'
    """
    own = vars(owner)
    before = {name: own[name] for name in methods if name in own}
    own.update(methods)
    try:
        yield
    finally:
        for name in methods:
            own.pop(name, None)
        own.update(before)


@contextmanager
def recorded(owner: Any, method: str) -> Iterator[list[tuple[tuple[Any, ...], Any]]]:
    """Collect the positional arguments and the result of each call of a method inside the block."""
    calls: list[tuple[tuple[Any, ...], Any]] = []
    original = getattr(owner, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        calls.append((args, result))
        return result

    with override(owner, **{method: call}):
        yield calls
