"""Short names of paths that tell them apart, for tables and the names of files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from genpas_plugins.errors import InputError


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the last name of each path, with as many of the folders before it as tell them all apart.

    paths : absolute ones. Raises InputError for those that no number of folders tells apart.

    >>> [*short_names([Path("/data/old/toys"), Path("/data/new/toys")]).values()]
    ['old-toys', 'new-toys']
    """
    distinct = list(dict.fromkeys(paths))
    for depth in range(1, max((len(path.parts) for path in distinct), default=1) + 1):
        names = {path: _joined(path, depth) for path in distinct}
        if len(set(names.values())) == len(names):
            return names
    raise InputError(f"{' and '.join(map(str, distinct))} have no names that differ; rename one of them.")


def _joined(path: Path, depth: int) -> str:
    folders = path.parts[1:-1]  # the first one is the root
    folders = folders[max(0, len(folders) - depth + 1) :]
    return "-".join([*(re.sub(r"[^\w.=+,-]+", "_", folder) for folder in folders), path.name])
