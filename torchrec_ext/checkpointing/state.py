"""Split, copy and compare the state of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharded_tensor.api import ShardedTensor, ShardedTensorBase
from torch.distributed._shard.sharded_tensor.shard import Shard
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.stateful import Stateful
from torch.distributed.remote_device import _remote_device

from genpas_plugins.support.errors import InputError

VALUE = "a plain value"
_PLAIN = (bool, int, float, str, type(None))
_NAMED = 5


def as_dicts(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the state with every object that has a `state_dict` replaced by its dict."""
    return {key: part.state_dict() if isinstance(part, Stateful) else part for key, part in state.items()}


def entries_of(part: dict[Any, Any], path: str = "") -> Iterator[tuple[str, tuple[dict[Any, Any], Any]]]:
    """Yield (name, (dict, key)) for every tensor and plain value in nested dicts; "/" joins the keys of a name."""
    for key, value in part.items():
        name = f"{path}{key}"
        if isinstance(value, dict):
            yield from entries_of(value, f"{name}/")
        elif isinstance(value, Tensor) or type(value) in _PLAIN:
            yield name, (part, key)
        else:
            raise InputError(
                f"The state's entry {name} is a {type(value).__name__}; a checkpoint holds tensors, numbers, strings, "
                "booleans and None, in dicts."
            )


def copy_on_cpu(tensor: Tensor) -> Tensor:
    """Return a CPU copy that training does not change. The copy of a sharded tensor has this rank's shards."""
    if not isinstance(tensor, ShardedTensor):
        return tensor.detach().to("cpu", copy=True)
    shards = [
        Shard(shard.tensor.detach().to("cpu", copy=True), _placed_on_cpu(shard.metadata))
        for shard in tensor.local_shards()
    ]
    whole = tensor.metadata()
    whole = replace(whole, shards_metadata=[_placed_on_cpu(shard) for shard in whole.shards_metadata])
    # The base class, because ShardedTensor communicates on the device of its process group.
    copy: Tensor = ShardedTensorBase._init_from_local_shards_and_global_metadata(shards, whole)
    return copy


def _placed_on_cpu(shard: ShardMetadata) -> ShardMetadata:
    """Return a shard's metadata with the CPU of its rank as device because a Shard compares its device."""
    if shard.placement is None:
        return shard
    return replace(shard, placement=_remote_device(f"rank:{shard.placement.rank()}/cpu"))


def shape_of(entry: Any) -> str:
    """Return the dtype and shape of a tensor or its description in words. A plain value gives `VALUE`."""
    if isinstance(entry, ShardedTensor):  # its own size() warns that it will be replaced
        size, dtype = entry.metadata().size, entry.metadata().tensor_properties.dtype
    elif isinstance(entry, Tensor):
        size, dtype = entry.shape, entry.dtype
    elif isinstance(entry, TensorStorageMetadata):
        size, dtype = entry.size, entry.properties.dtype
    else:
        return VALUE
    return f"{str(dtype).removeprefix('torch.')} {[*size]}"


def differences(saved: Mapping[str, str], live: Mapping[str, str]) -> str:
    """Return the first few differences between shapes by name in words; empty if there are none."""
    both = [name for name in live if name in saved]
    wrong = [f"{name} is {saved[name]} there, {live[name]} here" for name in both if saved[name] != live[name]]
    wrong += [f"{name} is missing there" for name in live if name not in saved]
    wrong += [f"{name} is missing here" for name in saved if name not in live]
    more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    return "; ".join(wrong[:_NAMED]) + more
