"""GenPAS in TorchRec: feed a stream of drawn pairs to any pipeline without changes to models.

GenPASStream    an IterableDataset of batches, elastic, resumable   GenPASStream(stream, batch_size=512, max_length=50)
PairBatch       histories and targets as one KeyedJaggedTensor      model(batch.features)
WindowBatch     histories of which every item is a target           GenPASStream(WindowStream(…), …)
genpas_stage    a stage that draws on the device                    StagedTrainPipeline([genpas_stage(batches, "cuda")])
torchrec_ext.shard   a RecBole model, its item table sharded, and what a loop around it needs
DeviceStream    the stream in torch: the same pairs, bit for bit    DeviceStream.of(stream, "cuda")

Nothing is imported until it is used. A torchrec that cannot be imported raises InputError with the versions and the
rule that they break. DeviceStream needs torch alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genpas_plugins.neural.device.device_stream import DeviceStream
    from torchrec_ext.batch import PairBatch, StepAddress, WindowBatch
    from torchrec_ext.pipeline_stage import genpas_stage, stage_batches
    from torchrec_ext.stream import GenPASStream

__all__ = ["DeviceStream", "GenPASStream", "PairBatch", "StepAddress", "WindowBatch", "genpas_stage", "stage_batches"]

_HOME = {
    "GenPASStream": "stream",
    "PairBatch": "batch",
    "StepAddress": "batch",
    "WindowBatch": "batch",
    "genpas_stage": "pipeline_stage",
    "stage_batches": "pipeline_stage",
}


def __getattr__(name: str) -> Any:
    if name == "DeviceStream":
        from genpas_plugins.neural.device.device_stream import DeviceStream

        return DeviceStream
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
