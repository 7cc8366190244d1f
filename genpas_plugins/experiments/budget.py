"""What every method of a comparison is given: the same seeds, and the same pairs in whole epochs."""

from __future__ import annotations

from collections.abc import Sequence

from genpas_plugins.support.errors import InputError


def read_seeds(words: Sequence[str]) -> list[int]:
    """Return the seeds. Raises InputError for none, one that is no whole number from 0 on, and doubles."""
    seeds: list[int] = []
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise InputError(f"--seeds: {word!r} is not a seed; write whole numbers from 0 on, as 1,2,3.")
        if int(word) in seeds:
            raise InputError(f"--seeds: {word} is there twice; a seed counts once.")
        if int(word) >= 1 << 32:
            raise InputError(f"--seeds: {word} is too large; RecBole's seeds are below 2**32.")
        seeds.append(int(word))
    return seeds


def whole_epochs(pairs: int, pairs_per_epoch: int) -> int:
    """Return how many epochs `pairs` are. Raises InputError if they are no whole number, naming the nearest ones.

    >>> whole_epochs(300, 100)
    3
    """
    epochs, rest = divmod(pairs, pairs_per_epoch)
    if rest:
        near = " or ".join(str(n * pairs_per_epoch) for n in (epochs, epochs + 1) if n)
        raise InputError(
            f"--pairs {pairs} is no multiple of the {pairs_per_epoch} pairs of an epoch; write {near}, or set "
            "--pairs-per-epoch to a divisor of it."
        )
    return epochs
