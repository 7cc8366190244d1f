"""Change the library in one place at a time and count the changes that its nearest tests notice.

    make mutate ARGS="--mutants 150 --seed 7"

cosmic-ray makes the mutants. A mutant is one file with one operator, number, comparison, condition, loop or `return`
changed. The sample is a random order that the seed fixes, as many mutants from each group. A child process imports the
changed file and runs the module's own test file until a test fails. Tests marked slow or distributed do not run. A
mutant that takes more than ten times the time of the unchanged file counts as noticed. Compiled kernels are not
changed: the tests compare every kernel with numpy.

A run continues where it was stopped: finished mutants are in `build/mutation.jsonl`.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import re
import resource
import signal
import site
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environment import ROOT, describe
from genpas_plugins.support.atomic import write_text

GROUPS = {
    "sampling": ["genpas_plugins/sampling/*.py"],
    "losses": [
        "genpas_plugins/neural/layers/*loss*.py",
        "genpas_plugins/neural/basrec/losses.py",
        "genpas_plugins/neural/tiger/window_losses.py",
        "torchrec_ext/losses.py",
    ],
    "checkpoints": [
        "genpas_plugins/neural/checkpoint_file.py",
        "genpas_plugins/neural/dr4sr/stage_files.py",
        "recbole_ext/checkpoints.py",
        "torchrec_ext/checkpointing/*.py",
    ],
}
NEAREST = {
    **dict.fromkeys(
        [f"genpas_plugins/sampling/{name}.py" for name in ("chained_windows", "enumerated_windows", "jagged")],
        "tests/genpas_plugins/sampling/test_windows.py",
    ),
    "genpas_plugins/sampling/batch.py": "tests/genpas_plugins/sampling/test_gather.py",
    "genpas_plugins/sampling/constructed_draws.py": "tests/genpas_plugins/sampling/test_constructions.py",
    "genpas_plugins/sampling/protocol.py": "tests/genpas_plugins/sampling/test_pairs_table.py",
    "genpas_plugins/neural/basrec/losses.py": "tests/recbole_ext/test_mixing.py",
    "genpas_plugins/neural/checkpoint_file.py": "tests/recbole_ext/test_checkpoints.py",
    "genpas_plugins/neural/dr4sr/stage_files.py": "tests/genpas_plugins/neural/dr4sr/test_regenerator.py",
    **dict.fromkeys(
        [
            f"torchrec_ext/checkpointing/{name}.py"
            for name in ("agreement", "checkpoints", "manifest", "safe_metadata", "state")
        ],
        "tests/torchrec_ext/test_checkpoints.py",
    ),
}
"""Test files of modules without one of their name."""

SKIPPED = re.compile(r"kernels|__init__")
# `a | b` is nearly always a type here. Decorators and exceptions are left alone too.
OPERATORS = re.compile(r"core/(?!.*BitOr|RemoveDecorator|ExceptionReplacer|.*VariableReplacer|.*VariableInserter)")
PRELOADED = ("numpy", "pyarrow", "polars", "numba", "scipy.stats", "hypothesis", "pytest", "torch", "typer", "pydantic")
RESULTS = ROOT / "benchmarks" / "results" / "mutation.md"
FOUND, SURVIVED = "noticed", "not noticed"


class Mutant(NamedTuple):
    """A file, its changed text, and the change as a line of the report."""

    group: str
    file: str
    line: int
    before: str
    after: str
    source: str


def mutants(group: str) -> Iterator[tuple[str, Any, int]]:
    """Yield file, operator and number of every mutant of a group."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    operators = [plugins.get_operator(name)() for name in sorted(plugins.operator_names()) if OPERATORS.match(name)]
    for file in sorted({file for pattern in GROUPS[group] for file in ROOT.glob(pattern)}):
        if SKIPPED.search(file.name):
            continue
        nodes = list(ast_nodes(get_ast(file.read_text(encoding="utf-8"))))
        for operator in operators:
            count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
            yield from ((str(file.relative_to(ROOT)), operator, number) for number in range(count))


def sample(group: str, count: int, seed: int) -> list[Mutant]:
    """Return the first mutants of a random order; a change of nothing but a comment, a docstring or a type is none."""
    from cosmic_ray.mutating import mutate_code

    order = list(mutants(group))
    random.Random(f"{seed} {group}").shuffle(order)
    chosen: list[Mutant] = []
    for file, operator, number in order:
        text = (ROOT / file).read_text(encoding="utf-8")
        changed = mutate_code(text, operator, number)
        lines = [line for line in difflib.ndiff(text.splitlines(), (changed or text).splitlines()) if line[:1] in "+-"]
        if len(lines) != 2 or not _compiles(changed):  # one line before and after
            continue
        place = next(n for n, (a, b) in enumerate(zip(text.splitlines(), changed.splitlines(), strict=True)) if a != b)
        chosen.append(Mutant(group, file, place + 1, lines[0][2:].strip(), lines[1][2:].strip(), changed))
        if len(chosen) == count:
            break
    return chosen


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def nearest_tests(file: str) -> str:
    """Return the test file of a module: of the same name in the mirrored folder, else the one in NEAREST."""
    mirrored = ROOT / "tests" / Path(file).with_name(f"test_{Path(file).name}")
    return str(mirrored.relative_to(ROOT)) if mirrored.is_file() else NEAREST[file]


def run_tests(tests: str, seconds: float) -> tuple[int, float]:
    """Run tests in a forked child; return its exit code, not 0 if it was stopped, and its processor time."""
    child = os.fork()
    if child == 0:
        import pytest

        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
        options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not distributed"]
        os._exit(int(pytest.main([*options, tests])))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    deadline, status = time.monotonic() + 20 * seconds, 0
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:  # waits for something, without using the processor
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)
    status = os.waitstatus_to_exitcode(ended[1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def judge(mutant: Mutant, limits: dict[str, float]) -> str:
    """Return what the nearest tests say to a mutant. The file is as before afterwards."""
    tests = nearest_tests(mutant.file)
    if mutant.file not in limits:
        status, seconds = run_tests(tests, 600)
        if status != 0:
            sys.exit(f"{tests}: the tests fail or none is chosen without a change (exit code {status}).")
        limits[mutant.file] = 10 * seconds + 5
    file = ROOT / mutant.file
    original = file.read_bytes()
    try:
        file.write_text(mutant.source, encoding="utf-8")
        status, _ = run_tests(tests, limits[mutant.file])
    finally:
        file.write_bytes(original)
    return SURVIVED if status == 0 else FOUND


def report(done: Sequence[dict[str, Any]], command: str) -> str:
    """Return the Markdown page: a line a group, then the survivors."""
    about = describe()
    rows = []
    for group in [*GROUPS, "all"]:
        outcomes = [entry["outcome"] for entry in done if group in ("all", entry["group"])]
        found = outcomes.count(FOUND)
        share = f"{found / len(outcomes):.0%}" if outcomes else "not run"
        rows.append(f"| {group} | {len(outcomes)} | {found} | {outcomes.count(SURVIVED)} | {share} |")
    survivors = [
        f"| `{entry['file']}:{entry['line']}` | `{_cell(entry['before'])}` | `{_cell(entry['after'])}` |"
        for entry in sorted(done, key=lambda entry: (entry["file"], entry["line"]))
        if entry["outcome"] == SURVIVED
    ]
    return "\n".join(
        [
            "# Mutants",
            "",
            f"`{command}`, {len(done)} of its mutants, {about['date']}, commit `{about['commit']}`.",
            "`benchmarks/mutation.py` changes one place of the code at a time. The nearest tests notice it or not.",
            "",
            "| group | mutants | noticed | not noticed | share |",
            "|---|--:|--:|--:|--:|",
            *rows,
            "",
            "Not noticed:",
            "",
            "| place | was | became |",
            "|---|---|---|",
            *survivors,
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Sample, run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=150, help="in all groups together")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--tools", type=Path, default=ROOT / "build" / "tools", help="environment with cosmic-ray")
    options = parser.parse_args()
    for folder in options.tools.glob("lib/python*/site-packages"):
        site.addsitedir(str(folder))  # after our own packages, which win
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for name in PRELOADED:
        __import__(name)
    for name in [name for name in sys.modules if name.startswith(("genpas_plugins", "benchmarks."))]:
        del sys.modules[name]  # a child imports them changed
    log = ROOT / "build" / "mutation.jsonl"
    log.parent.mkdir(exist_ok=True)
    done = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    known = {(entry["file"], entry["line"], entry["before"], entry["after"]) for entry in done}
    limits: dict[str, float] = {}
    command = f'make mutate ARGS="--mutants {options.mutants} --seed {options.seed}"'
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped. The same command goes on."))  # the file is put back
    try:
        samples = [sample(group, options.mutants // len(GROUPS), options.seed) for group in GROUPS]
        for mutant in [mutant for turn in zip(*samples, strict=True) for mutant in turn]:
            key = (mutant.file, mutant.line, mutant.before, mutant.after)
            if key not in known:
                entry = {"group": mutant.group, "file": mutant.file, "line": mutant.line}
                entry |= {"before": mutant.before, "after": mutant.after, "outcome": judge(mutant, limits)}
                done.append(entry)
                with log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(entry) + "\n")
                print(f"{entry['outcome']:11} {mutant.file}:{mutant.line}  {mutant.after}", flush=True)
    finally:
        write_text(RESULTS, report(done, command))


if __name__ == "__main__":
    main()
