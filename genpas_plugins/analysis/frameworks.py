"""What public code bases train on: each one's default construction and its figures on a store.

Read from source or documentation in November 2026. A code base has no construction if it trains on the rows of the
user's own table (TorchEasyRec) or on another objective (masking). genrec's SASRec and HSTU are not here either.
They train all positions of every prefix: a target counts once for each item from it on. RePlay also trains the
first item of a sequence that is shorter than a window after padding alone, and FMLP-Rec the first item of its window.
Their rows leave this out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.histograms import effective_users, target_positions
from genpas_plugins.analysis.target_distribution import last_target_distribution, target_distribution
from genpas_plugins.data.sequences import Split
from genpas_plugins.sampling.policy import named_policy
from genpas_plugins.support.errors import InputError, nearest


class Framework(NamedTuple):
    """A code base.

    Attributes
    ----------
    name : its name, and the part of it if it has several ways
    strategy : value of the `strategy` key that makes the same pairs
    length : items of a history at most, by default
    read : whether its source was read for this table; else its documentation or a reader's report was
    """

    name: str
    strategy: str
    length: int
    read: bool


FRAMEWORKS = {
    "recbole": Framework("RecBole 1.2.1", "multi_target", 50, True),
    "recbole3": Framework("RecBole 3", "prefix_with_empty", 50, False),
    "recbole_da": Framework("RecBole-DA (CL4SRec, DuoRec, CoSeRec)", "multi_target", 50, False),
    "rectools": Framework("RecTools 0.19, SASRec", "last_items:length=100", 100, True),
    "replay": Framework("RePlay, SASRec", "last_items:length=49", 49, True),
    "replay_windows": Framework("RePlay, sliding_window_step", "windows_from_end:width=50:stride=25", 49, True),
    "warprec": Framework("WarpRec, sequential", "multi_target", 50, True),
    "warprec_windows": Framework("WarpRec, sliding windows", "strided_windows:width=50:stride=1", 49, True),
    "cornac": Framework("cornac 3, SASRec", "multi_target", 50, True),
    "cornac_transformer": Framework("cornac 3, TransformerRec, causal", "last_items:length=19", 19, True),
    "recommenders": Framework("recommenders, SASRec", "last_items:length=50", 50, True),
    # torch/masking.py; the workflows of its examples keep the last 20 items of a session.
    "transformers4rec": Framework("Transformers4Rec, causal", "last_items:length=19", 19, True),
    "torch_rechub": Framework("torch-rechub, prefixes", "oldest_items:length=49:candidates=49", 49, True),
    "rechorus": Framework("ReChorus, SASRec", "multi_target", 20, True),
    "sasrec": Framework("SASRec, the authors' code", "last_items:length=50", 50, False),
    # python/utils.py and python/main.py
    "sasrec_pytorch": Framework("SASRec.pytorch", "last_items:length=200", 200, True),
    "gsasrec": Framework("gSASRec-pytorch", "last_items:length=200", 200, True),
    "aprec": Framework("aprec, recency sampling", "exponential_recency:decay=0.8", 50, True),
    "s3rec": Framework("S³-Rec, fine-tuning", "last_items:length=50", 50, True),
    "fmlprec": Framework("FMLP-Rec", "last_items:length=49", 49, True),  # datasets.py
    "duorec": Framework("DuoRec", "multi_target", 50, False),
    "time_to_split": Framework("Time to Split", "last_items:length=128", 128, True),
    "esasrec": Framework("eSASRec", "last_items:length=50", 50, False),
    "dense_all_action": Framework("PinnerFormer, eSASRec: dense all-action", "future_window:items=10", 50, False),
    "hstu": Framework("generative-recommenders (HSTU), MovieLens", "last_items:length=200", 200, True),
    "hstu_stochastic": Framework("HSTU, stochastic length (paper)", "stochastic_length:length=20", 200, False),
    "fuxi": Framework("FuXi-α, MovieLens", "last_items:length=200", 200, False),
    "nvidia": Framework("NVIDIA sid_gr", "oldest_items:length=50:candidates=1", 50, True),
    "nvidia_all": Framework("NVIDIA hstu, all candidates", "oldest_items:length=50:candidates=50", 50, False),
    "grid": Framework("GRID", "grid_windows:users=32", 29, True),
    "rqvae": Framework("RQ-VAE-Recommender, subsample", "random_window:length=20", 20, True),
    "genrec": Framework("genrec, TIGER", "multi_target", 20, True),
    "letter": Framework("LETTER", "multi_target", 20, True),
    "actionpiece": Framework("ActionPiece", "multi_target", 20, False),
    "liger": Framework("LIGER", "multi_target", 20, False),
    "minionerec": Framework("MiniOneRec", "multi_target", 10, False),
    "sss_original": Framework("SSS4SR, original", "last_target", 50, True),
    "sss_prefix": Framework("SSS4SR, prefix", "prefix_with_empty", 50, True),
    "sss_suffix": Framework("SSS4SR, suffix", "suffix", 50, True),
    "sss_slide": Framework("SSS4SR, slide", "fixed_windows:width=10", 50, True),
    "sss_slide_full": Framework("SSS4SR, slide and original", "fixed_windows_and_full:width=10", 50, True),
    "k_shift": Framework("Is Sliding Window All You Need?", "strided_windows:width=50:stride=10", 49, False),
}
"""Every code base by the word that `--framework` takes."""


def frameworks_named(words: Iterable[str]) -> dict[str, Framework]:
    """Return the code bases of these words; "all" is all of them. Raises InputError for an unknown word."""
    chosen = list(dict.fromkeys(words))
    for word in chosen:
        if word not in FRAMEWORKS and word != "all":
            raise InputError(f"--framework is {word!r}.{nearest(word, ['all', *FRAMEWORKS])}")
    return dict(FRAMEWORKS) if "all" in chosen else {word: FRAMEWORKS[word] for word in chosen}


def framework_figures(split: Split, frameworks: dict[str, Framework]) -> list[dict[str, Any]]:
    """Return exactly what each code base trains on with `split`, by rising KL to validation.

    Returns
    -------
    One dictionary a code base: key, the fields of `Framework`, kl_validation and kl_test in nats, history_length (mean,
    cut to `length`), effective_users, last_target (share of pairs with a user's last item), items (share of the
    items that validation asks for and training has as a target).

    Raises
    ------
    InputError
        If no training sequence has two items.
    """
    train = split.train
    train.require_content()
    observed = {
        name: last_target_distribution(view)
        for name, view in (("kl_validation", split.validation), ("kl_test", split.test))
        if view.max_length
    }
    of_strategy: dict[str, dict[str, float]] = {}
    rows = []
    for key, framework in frameworks.items():
        policy = named_policy(framework.strategy)
        if framework.strategy not in of_strategy:
            trained = target_distribution(train, policy)
            figures = {name: kl_divergence(asked, trained) for name, asked in observed.items()}
            asked = next(iter(observed.values()), trained) > 0
            of_strategy[framework.strategy] = {
                **figures,
                "effective_users": effective_users(train, policy),
                "last_target": float(target_positions(train, policy).from_end[0]),
                "items": float(np.mean(trained[asked] > 0)),
            }
        length = policy.expected_history_length(train, framework.length)
        rows.append({"key": key, **framework._asdict(), **of_strategy[framework.strategy], "history_length": length})
    return sorted(rows, key=lambda row: row.get("kl_validation", 0.0))
