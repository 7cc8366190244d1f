"""The `torchrec:` section beside RecBole's settings. Flat keys such as `torchrec_output` win over it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from genpas_plugins.settings.base import Section
from genpas_plugins.support.errors import InputError

SECTION = "torchrec"
PREFIX = "torchrec_"


class TorchRecConfig(Section):
    """A checked `torchrec:` section."""

    SECTION: ClassVar[str] = SECTION

    sharding: Literal["row_wise", "table_wise", "column_wise", "planner"] = Field(
        "row_wise", description="how tables are cut; planner: TorchRec's own choice"
    )
    output: Literal["vocab_parallel", "gather", "sampled"] = Field(
        "vocab_parallel", description="gather: every rank gathers the table; sampled: negatives alone"
    )
    optimizer: Literal["row_wise_adagrad", "adagrad", "sgd", "adam"] = Field(
        "row_wise_adagrad", description="of the tables; adam needs CUDA"
    )
    learning_rate: float = Field(
        0.02, gt=0, description="of the tables; learning_rate outside is the rest of the model's"
    )
    negatives: int | None = Field(None, ge=1, description="how many all pairs of a step share, with output: sampled")
    memory_per_rank: int | None = Field(None, ge=1, description="bytes that the tables may take on a rank")
    table_type: Literal["float32", "float16"] = Field(
        "float32", description="of the tables in memory; float16 halves it, and updates are rounded stochastically"
    )
    cached: bool = Field(
        False, description="true: tables in the host's memory, a cache of their rows on the GPU; needs CUDA"
    )
    tf32: bool = Field(False, description="true: a GPU's float32 matrix products in TF32, with 10 bits of mantissa")
    checkpoint_every: int | None = Field(
        None, ge=1, description="optimizer steps; null: at the end of every epoch only"
    )
    keep_last: int = Field(2, ge=1, description="checkpoints kept, beside the best")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.output == "sampled" and self.negatives is None:
            raise InputError("output sampled needs negatives: how many items all pairs of a step share, as in 1000.")
        if self.output != "sampled" and self.negatives is not None:
            raise InputError(
                f"negatives is {self.negatives}, but output {self.output} scores all items; set output: sampled."
            )
        return self
