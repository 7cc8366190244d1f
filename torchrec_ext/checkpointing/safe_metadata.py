"""Read the metadata of a distributed checkpoint without running code from it.

torch.distributed.checkpoint (DCP) describes a checkpoint in `.metadata` and unpickles this file unchecked. This
module admits only the classes that describe tensors. Shards may hold only tensors: DCP reads tensors with
`weights_only=True` and everything else without.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection
from pathlib import Path, PosixPath
from typing import Any, ClassVar

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    _MEM_FORMAT_ENCODING,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from genpas_plugins.support.errors import InputError

METADATA = ".metadata"

# No BytesStorageMetadata: DCP would unpickle what it names.
_DATACLASSES = (
    *(Metadata, StorageMeta, MetadataIndex, _StorageInfo),
    *(TensorStorageMetadata, ChunkStorageMetadata, TensorProperties),
)
_ADMITTED: dict[tuple[str, str], Any] = {
    **{(kind.__module__, kind.__name__): kind for kind in (*_DATACLASSES, _MEM_FORMAT_ENCODING, torch.Size)},
    **{("torch", str(kind).removeprefix("torch.")): kind for kind in vars(torch).values() if type(kind) is torch.dtype},
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    ("pathlib", "PosixPath"): PosixPath,
    ("pathlib._local", "PosixPath"): PosixPath,
}


class _Unpickler(pickle._Unpickler):  # the C version cannot override BUILD
    """Finds the classes in `_ADMITTED` and fills instances of dataclasses only."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None

    def load_build(self) -> None:
        kind = type(self.stack[-2])  # type: ignore[attr-defined]  # the stubs leave it out
        if kind not in _DATACLASSES:
            raise pickle.UnpicklingError(f"it fills a {kind.__name__}")
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build


class SafeReader(FileSystemReader):
    """DCP's reader of a directory with the metadata from `read_safely`. Raises the same InputError."""

    def __init__(self, directory: Path, files: Collection[str]) -> None:
        super().__init__(directory)
        self.metadata = read_safely(directory / METADATA, files)

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """Return the metadata that was read when this object was made."""
        return self.metadata


def read_safely(path: Path, files: Collection[str]) -> Metadata:
    """Read the description of a checkpoint's tensors in `files`; no code of the pickle runs."""
    try:
        with path.open("rb") as stream:
            metadata = _Unpickler(stream).load()
        _check(metadata, files)
    except OSError:
        raise
    except Exception as error:  # broken pickles raise anything
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path} is refused: it is not the description of tensors that a checkpoint has ({reason}). Delete "
            f"{path.parent} unless you know where it comes from."
        ) from error
    assert isinstance(metadata, Metadata)
    return metadata


def _check(metadata: Any, files: Collection[str]) -> None:
    if not isinstance(metadata, Metadata):
        raise ValueError(f"it is a {type(metadata).__name__}")
    descriptions: dict[Any, Any] = metadata.state_dict_metadata
    for name, description in descriptions.items():
        if not isinstance(name, str) or not isinstance(description, TensorStorageMetadata):
            raise ValueError(f"{name} is a {type(description).__name__}")
    for index, place in metadata.storage_data.items():
        if not isinstance(index, MetadataIndex) or not isinstance(place, _StorageInfo):
            raise ValueError(f"{index} lies in a {type(place).__name__}")
        if place.relative_path not in files:
            raise ValueError(f"{index.fqn} lies in {place.relative_path}")
        if place.transform_descriptors:
            raise ValueError(f"{index.fqn} is transformed by {place.transform_descriptors}")
