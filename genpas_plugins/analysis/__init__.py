"""What a policy trains on in closed form. Only a similarity of whole histories is estimated from samples.

    report = analyze(store.leave_last_out(), [SamplingPolicy(1, 0, 0)]) every figure as plain values

The other functions give one figure each.
"""

from genpas_plugins.analysis.alignment import alignment_discrimination
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.histograms import effective_users, history_lengths, popularity_groups, user_mass
from genpas_plugins.analysis.inputs import input_target_statistics
from genpas_plugins.analysis.measures import analyze
from genpas_plugins.analysis.ranking import rank_agreement, rank_difference
from genpas_plugins.analysis.similarity import SIMILARITIES, Similarity
from genpas_plugins.analysis.target_distribution import last_target_distribution, target_distribution

__all__ = [
    "SIMILARITIES",
    "Similarity",
    "alignment_discrimination",
    "analyze",
    "effective_users",
    "history_lengths",
    "input_target_statistics",
    "kl_divergence",
    "last_target_distribution",
    "popularity_groups",
    "rank_agreement",
    "rank_difference",
    "target_distribution",
    "user_mass",
]
