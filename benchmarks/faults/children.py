"""Functions in child processes, which may die or be killed. The modules are loaded once, in the parent."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from genpas_plugins import InputError

USED, REFUSED = "used", "refused"
_OUTCOMES = (USED, REFUSED, "traceback")
_LONGEST = 1200


def genpas(*arguments: object) -> None:
    """Run the command `genpas` in this process.

    Raises InputError if it fails with one sentence, and RuntimeError for any other failure.
    """
    from genpas_plugins.cli import app

    _command(lambda: app([str(argument) for argument in arguments], prog_name="genpas"))


def torchrec_train(*arguments: object) -> None:
    """Run `python -m torchrec_ext.train` in this process; see `genpas`."""
    from torchrec_ext import train

    _command(lambda: train.main([str(argument) for argument in arguments]))


def _command(run: Callable[[], object]) -> None:
    errors, code = io.StringIO(), 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
    sentences = [line for line in errors.getvalue().splitlines() if line.startswith("error: ")]
    if code and len(sentences) == 1 and "Traceback" not in errors.getvalue():
        raise InputError(sentences[0])
    if code:
        raise RuntimeError(f"status {code}: {errors.getvalue()[-2000:]}")


def outcomes(uses: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    """Call the functions one after the other in a child; return "used", "refused", "traceback" or "crash" for each.

    Another child goes on after one that died. A function that takes minutes counts as a crash.
    """
    found: dict[str, str] = {}
    while left := [name for name in uses if name not in found]:
        ends, reports = os.pipe()
        child = os.fork()
        if child == 0:
            for name in left:
                signal.alarm(_LONGEST)
                os.write(reports, bytes([_outcome(uses[name])]))
            os._exit(0)
        os.close(reports)
        with os.fdopen(ends, "rb") as stream:
            codes = stream.read()
        os.waitpid(child, 0)
        found |= {name: _OUTCOMES[code] for name, code in zip(left, codes, strict=False)}
        if len(codes) < len(left):
            found[left[len(codes)]] = "crash"
    return found


def _outcome(use: Callable[[], object]) -> int:
    try:
        use()
    except InputError as error:
        return 1 if len(str(error).splitlines()) == 1 else 2
    except BaseException:
        traceback.print_exc()
        return 2
    return 0


def killed(use: Callable[[], object], seconds: float) -> bool:
    """Kill a child with its children `seconds` after it began `use`; return whether it was still at work."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(_outcome(use))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):  # not a leader yet
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file under a folder, by its path in the folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def report(counts: Counter[str], failures: Iterable[str]) -> int:
    """Print failures, then trials, survived and failed; return the exit status."""
    failed = list(failures)
    print(*failed, sep="\n")
    trials = sum(counts.values())
    named = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print(f"trials {trials} ({named}), survived {trials - len(failed)}, failed {len(failed)}")
    return bool(failed)
