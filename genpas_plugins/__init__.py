"""GenPAS: choose, see and search the distribution that the training pairs of a sequential recommender come from.

SequenceStore   every user's interactions, memory-mapped      SequenceStore.open(path)
SamplingPolicy  a distribution over (sequence, target, start) SamplingPolicy(alpha=1, beta=0, gamma=0)
pair_stream     an endless, addressable stream of pairs       pair_stream(view, policy, seed=7)
gather_padded   addresses → (history, target) arrays          gather_padded(store.values, store.offsets, pairs, 50)
"""

from typing import TYPE_CHECKING, Any

from genpas_plugins.data.sequences import Pairs, SequenceStore, SequenceView
from genpas_plugins.sampling.enumeration import PairEnumeration
from genpas_plugins.sampling.gather import gather_jagged, gather_padded
from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.sampling.sampler import PairSampler
from genpas_plugins.sampling.stream import pair_stream
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    from genpas_plugins.settings.genpas import GenPASConfig

__version__ = "0.1.0"

__all__ = [
    "GenPASConfig",
    "InputError",
    "PairEnumeration",
    "PairSampler",
    "PairStream",
    "Pairs",
    "SamplingPolicy",
    "SequenceStore",
    "SequenceView",
    "gather_jagged",
    "gather_padded",
    "pair_stream",
]


def __getattr__(name: str) -> Any:
    """Import `GenPASConfig` when it is first used: pydantic takes as long to import as all the rest but numpy."""
    if name != "GenPASConfig":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from genpas_plugins.settings.genpas import GenPASConfig

    return GenPASConfig
