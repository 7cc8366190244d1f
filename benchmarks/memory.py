"""Memory of the running process in bytes, as Linux accounts it.

`peak` is VmHWM. It differs from getrusage's ru_maxrss, which in a fresh process starts at the peak of its parent.
"""

from __future__ import annotations

from pathlib import Path

_PROCESS = Path("/proc/self")


def resident() -> int:
    """Return the resident memory now."""
    return _status("VmRSS")


def peak() -> int:
    """Return the largest resident memory since the process began, or since `reset_peak`."""
    return _status("VmHWM")


def anonymous() -> int:
    """Return the bytes of resident memory without pages of files: the system cannot take them back without a swap."""
    return _status("RssAnon")


def reset_peak() -> None:
    """Let `peak` start again from the present resident memory."""
    (_PROCESS / "clear_refs").write_text("5", encoding="ascii")


def beyond_files(folder: Path) -> int:
    """Return the resident memory without the pages of the files mapped from `folder`.

    What is left is heap, stacks and the code of Python and of the libraries.
    """
    total = of_files = 0
    inside, prefix = False, f"{folder.resolve()}/"
    for line in (_PROCESS / "smaps").read_text(encoding="utf-8").splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):  # "7f…-7f… r--s 00000000 fe:00 1234   /path", the head of a mapping
            inside = prefix in line
        elif first == "Rss:":
            size = int(rest.split()[0]) * 1024
            total += size
            of_files += size if inside else 0
    return total - of_files


def _status(key: str) -> int:
    for line in (_PROCESS / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}; these measurements need Linux.")
