"""Batches drawn on the run's GPU. The store and the tables are there and no batch crosses the bus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from genpas_plugins.neural.device.device_batch import DeviceBatch
from genpas_plugins.neural.device.device_stream import DeviceStream, has_twin, tensor_of
from genpas_plugins.sampling.protocol import Stream
from recbole_ext.dataset import Columns, WindowDataset

_SHARE = 0.5
"""Of the device's free memory, what the store may take."""


@dataclass(frozen=True, eq=False)
class DeviceDraws:
    """A stream on a device with the columns that RecBole joins to its batches.

    Attributes
    ----------
    stream : of the training
    columns : the data set's
    features : the columns of a table of users or items by the field that they are joined to
    """

    stream: DeviceStream
    columns: Columns
    features: Mapping[str, Mapping[str, Tensor]]

    @classmethod
    def of(cls, stream: Stream, dataset: WindowDataset, device: torch.device) -> DeviceDraws:
        """Copy a stream and its data set's columns to a device."""
        fields = {name: tensor_of(column, device) for name, column in dataset.store.columns.items()}
        tables = ((dataset.uid_field, dataset.user_feat), (dataset.iid_field, dataset.item_feat))
        features = {key: table.to(device).interaction for key, table in tables if table is not None}
        return cls(DeviceStream.of(stream, device), Columns(tensor_of(dataset.owner, device), fields), features)

    def batch(self, epoch: int, first: int, count: int, max_length: int) -> DeviceBatch:
        """Return the examples from `first` on; the epoch begins again after its end."""
        return self.stream.consecutive(epoch, first, first + count, max_length)[0]

    def join(self, data: Interaction) -> Interaction:
        """Return a batch with the features of its users and items. See the data set's `join`."""
        for key, columns in self.features.items():
            data.update(Interaction({name: column[data[key]] for name, column in columns.items()}))
        return data


def device_draws(config: Any, stream: Stream, dataset: WindowDataset, *, negatives: bool) -> DeviceDraws | None:
    """Return the draws on the run's device or None for draws on the CPU. The log has the reason not to use a GPU.

    Parameters
    ----------
    config, stream, dataset : of the training
    negatives : whether RecBole samples negatives for the batches
    """
    device = config["device"]
    if torch.device(device).type != "cuda" or config["genpas"].device == "cpu":
        return None
    reason = _reason(config, stream, dataset, negatives=negatives)
    if reason:
        dataset.logger.info(f"GenPAS draws batches on the CPU: {reason}.")
        return None
    return DeviceDraws.of(stream, dataset, device)


def _reason(config: Any, stream: Stream, dataset: WindowDataset, *, negatives: bool) -> str | None:
    if not has_twin(stream):
        return f"a {type(stream).__name__} is drawn there alone"
    if negatives:
        return "RecBole samples negatives there"
    if config["worker"]:
        return "worker asks for processes of their own"
    if config["transform"] is not None:
        return f"the transform {config['transform']} is computed there"
    store = dataset.store
    needed = sum(array.nbytes for array in (store.values, store.offsets, *store.columns.values()))
    free, _ = torch.cuda.mem_get_info(config["device"])
    if needed > _SHARE * free:
        return f"the store takes {needed:,} bytes, and the device has {free:,} free"
    return None
