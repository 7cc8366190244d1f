"""Checkpoints of sharded training: written in the background and loaded on any number of ranks.

    DIRECTORY/step-000001200/__0_0.distcp, __1_0.distcp   each rank's tensors (torch.distributed.checkpoint, DCP)
                             .metadata                    file and position of every tensor
                             manifest.json                step, sizes, CRC-32 of every file, plain values, best or not

A checkpoint is written as `.step-…` and renamed when all ranks are done. A killed run leaves whole checkpoints and
hidden ones. The next start deletes the hidden ones. Only descriptions of tensors are unpickled (`safe_metadata`).
"""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.stateful import Stateful

from genpas_plugins.support.atomic import replace_directory
from genpas_plugins.support.environment import versions
from genpas_plugins.support.errors import InputError, whole_number
from torchrec_ext.checkpointing import manifest as manifests
from torchrec_ext.checkpointing.agreement import on_rank_0, reason_of, together
from torchrec_ext.checkpointing.safe_metadata import METADATA, SafeReader
from torchrec_ext.checkpointing.state import VALUE, as_dicts, copy_on_cpu, differences, entries_of, shape_of

_NAME = re.compile(r"step-(\d{9,})")


class Checkpoints:
    """The last few steps and the best step under one directory.

    A state is a nested dict of tensors (also sharded), numbers, strings, booleans and None. An entry may also be an
    object with `state_dict` and `load_state_dict`. All ranks make the object and call its collective methods in the
    same order.
    """

    def __init__(
        self,
        directory: Path,  # on a file system that all ranks share
        *,
        keep_last: int = 2,  # checkpoints kept beside the best
        process_group: dist.ProcessGroup | None = None,  # None: all ranks
        log: Callable[[str], None] = print,  # called on rank 0, also from another thread
    ) -> None:
        if not dist.is_initialized():
            raise InputError("No process group: call torch.distributed.init_process_group first.")
        self.directory = directory
        self.keep_last = whole_number("keep_last", keep_last, 1)
        # Its own, because the writing thread communicates while training does; gloo, because it works on CPU tensors.
        self._group = dist.new_group(
            dist.get_process_group_ranks(process_group), backend="gloo", use_local_synchronization=True
        )
        self._rank, self._world_size = dist.get_rank(self._group), dist.get_world_size(self._group)
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None
        try:
            on_rank_0(lambda: _tidy(directory), self._group)
        except OSError as error:
            raise InputError(f"{directory} cannot hold checkpoints ({error}).") from error

    def save(self, step: int, state: dict[str, Any], *, best: bool = False) -> None:
        """Copy the state and write it in the background. Collective. Waits for an earlier write to end.

        A failed write is logged. Training goes on and older checkpoints stay. A successful write deletes the steps
        before the last few. It also deletes the steps after `step`: the run went back.
        """
        step = whole_number("step", step, 0)
        if self._writing is not None:
            self._writing.result()
        entries = dict(entries_of(as_dicts(state)))
        tensors = {name: copy_on_cpu(at[key]) for name, (at, key) in entries.items() if isinstance(at[key], Tensor)}
        values = {name: at[key] for name, (at, key) in entries.items() if not isinstance(at[key], Tensor)}
        made_by = versions(("torch", "torchrec"))
        manifest = {"step": step, "best": bool(best), "world_size": self._world_size, "versions": made_by}
        self._writing = self._thread.submit(self._write, self._path(step), tensors, {**manifest, "values": values})

    def wait(self) -> None:
        """Wait until nothing is being written. Collective."""
        if self._writing is not None:
            self._writing.result()
        dist.barrier(group=self._group)

    def steps(self) -> list[int]:
        """Return all saved steps in ascending order. Broken steps are included."""
        names = [_NAME.fullmatch(path.name) for path in self.directory.glob("step-*")]
        return sorted(int(name[1]) for name in names if name)

    def best_step(self) -> int | None:
        """Return the step that was last saved as the best or None."""
        return max((step for step in self.steps() if self._manifest(step).get("best")), default=None)

    def load_newest(self, state: dict[str, Any]) -> int | None:
        """Load the newest whole checkpoint into the live tensors and dicts of `state`. Collective.

        Any number of ranks may have written the checkpoint. A broken checkpoint is logged and passed over.

        Returns the step or None without a checkpoint. Raises InputError on every rank if all checkpoints are broken
        or `.metadata` is refused. Names and shapes must be equal.
        """
        return self._load(state, lambda: self.steps()[::-1])

    def load_best(self, state: dict[str, Any]) -> int | None:
        """Load the best checkpoint. Collective; returns None if no checkpoint was saved as the best."""
        return self._load(state, lambda: [step for step in (self.best_step(),) if step is not None])

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:09d}"

    def _manifest(self, step: int) -> dict[str, Any]:
        """Return the manifest of a step; empty if the manifest is broken."""
        try:
            return manifests.read(self._path(step))
        except (OSError, ValueError):
            return {}

    def _write(self, path: Path, tensors: dict[str, Tensor], manifest: dict[str, Any]) -> None:
        """Write a checkpoint in the writing thread. All ranks finish one part before any rank begins the next."""
        try:
            with ExitStack() as stack:
                temporary = on_rank_0(lambda: stack.enter_context(replace_directory(path)), self._group)
                writer = _Writer(temporary)
                planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
                save(tensors, storage_writer=writer, planner=planner, process_group=self._group)
                own = [f"__{self._rank}_*", *([METADATA] if self._rank == 0 else [])]
                sums = together(lambda: manifests.measure(temporary, own), self._group)
                files = {name: found for of_rank in sums for name, found in of_rank.items()}
                on_rank_0(lambda: manifests.write(temporary, {**manifest, "files": files}), self._group)
        except (Exception, CheckpointException) as error:
            self._say(f"{path} was not written: {reason_of(error)}. Training goes on; older checkpoints stay.")
            return
        if self._rank == 0:
            try:
                manifests.flush(self.directory)
                self._delete_all_but_the_last(manifest["step"])
            except OSError as error:
                self._say(f"Older checkpoints in {self.directory} cannot be deleted: {reason_of(error)}.")

    def _delete_all_but_the_last(self, step: int) -> None:
        whole = {other: manifest for other in self.steps() if other <= step and (manifest := self._manifest(other))}
        best = [other for other, manifest in whole.items() if manifest["best"]]
        for other in {*self.steps()} - {*[*whole][-self.keep_last :], *best[-1:]}:
            # A killed deletion must not leave half a checkpoint under a checkpoint's name.
            doomed = self.directory / f".{self._path(other).name}.deleted"
            self._path(other).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _load(self, state: dict[str, Any], candidates: Callable[[], list[int]]) -> int | None:
        self.wait()
        steps = on_rank_0(candidates, self._group)
        for step in steps:
            try:
                self._load_step(self._path(step), state)
            except (OSError, CheckpointException) as error:
                self._say(f"{self._path(step)} is broken and passed over: {reason_of(error)}.")
            else:
                return step
        if steps:
            raise InputError(
                f"No whole checkpoint in {self.directory}: {', '.join(self._path(step).name for step in steps)} "
                "cannot be read. Move it away to start from the beginning."
            )
        return None

    def _load_step(self, path: Path, state: dict[str, Any]) -> None:
        manifest = on_rank_0(lambda: manifests.read(path), self._group)
        share = sorted(manifest["files"])[self._rank :: self._world_size]
        together(lambda: manifests.check(path, {name: manifest["files"][name] for name in share}), self._group)
        readers: list[SafeReader] = []
        together(lambda: readers.append(SafeReader(path, manifest["files"])), self._group)
        holders = as_dicts(state)
        entries = dict(entries_of(holders))
        saved = readers[0].metadata.state_dict_metadata
        shapes = {name: shape_of(entry) for name, entry in saved.items()}
        self._check(path, {**shapes, **dict.fromkeys(manifest["values"], VALUE)}, entries)
        tensors = {name: at[key] for name, (at, key) in entries.items() if isinstance(at[key], Tensor)}
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        load(dict(tensors), storage_reader=readers[0], planner=planner, process_group=self._group)
        for name in entries.keys() - tensors.keys():
            at, key = entries[name]
            at[key] = manifest["values"][name]
        for key, part in state.items():
            if isinstance(part, Stateful):
                part.load_state_dict(holders[key])

    def _check(self, path: Path, saved: dict[str, str], entries: dict[str, tuple[Any, Any]]) -> None:
        # Ranks may hold different parts: a table on one rank has its optimizer's state on that rank only.
        own = {name: shape_of(at[key]) for name, (at, key) in entries.items()}
        live = {name: shape for of_rank in together(lambda: own, self._group) for name, shape in of_rank.items()}
        wrong = differences(saved, live)
        if wrong:
            raise InputError(
                f"{path} holds another model or optimizer than this one: {wrong}. Use the configuration it was trained "
                "with, or another directory."
            )

    def _say(self, sentence: str) -> None:
        if self._rank == 0:
            self._log(sentence)


class _Writer(FileSystemWriter):
    def write_data(self, *arguments: Any) -> Any:
        """Write and raise the system's error for a full disk. torch hides it under "unexpected pos"."""
        try:
            return super().write_data(*arguments)
        except RuntimeError as error:
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def _tidy(directory: Path) -> None:
    """Make the directory or delete what a killed run left half done in it."""
    directory.mkdir(parents=True, exist_ok=True)
    for aside in directory.glob(".step-*.old"):  # a whole checkpoint that was about to be replaced
        whole = directory / aside.name.split(".")[1]
        if not whole.exists():
            aside.rename(whole)
    for rest in directory.glob(".step-*"):
        shutil.rmtree(rest)
