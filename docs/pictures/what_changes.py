"""Draw what_changes.svg from MovieLens-100K, which RecBole's package ships: python docs/pictures/what_changes.py.

Every figure is exact: it is computed from the policy and the data, and nothing is trained or drawn at random.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import recbole
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

import recbole_ext  # noqa: F401 – makes RecBole importable
from genpas_plugins import SamplingPolicy, SequenceStore
from genpas_plugins.analysis import (
    history_lengths,
    kl_divergence,
    last_target_distribution,
    target_distribution,
    user_mass,
)
from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.experiments.plots import COLOURS

PICTURE = Path(__file__).with_name("what_changes.svg")
DATA = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
POLICIES = {
    "last_target": SamplingPolicy.named("last_target"),
    "multi_target": SamplingPolicy.named("multi_target"),
    "slide_window": SamplingPolicy.named("slide_window"),
    "1, 0, 0": SamplingPolicy(1, 0, 0),
}
PAIRS = "share of the training pairs"
DASHES = ("-", "--", "-.", ":")


def movielens() -> SequenceStore:
    """Return MovieLens-100K as a store."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        store = build_store(DATA, path, user="user_id", item="item_id", order="timestamp")
        return SequenceStore.from_arrays(store.values[:], store.offsets[:], n_items=store.n_items)


def draw(store: SequenceStore) -> plt.Figure:
    """Draw whose sequences, which targets and how much history each policy trains on."""
    split = store.leave_last_out()
    asked = last_target_distribution(split.test)
    figure, (users, targets, lengths) = plt.subplots(1, 3, figsize=(10.5, 3.3), layout="constrained")
    by_length = np.argsort(-split.train.lengths(), kind="stable")
    share = np.arange(1, store.n_sequences + 1) / store.n_sequences
    for (name, policy), colour, dash in zip(POLICIES.items(), COLOURS, DASHES, strict=False):
        look = {"color": colour, "linestyle": dash, "linewidth": 1.8, "label": name}
        users.plot(share, np.cumsum(user_mass(split.train, policy)[by_length]), **look)
        cumulative = np.cumsum(history_lengths(split.train, policy))
        lengths.plot(np.arange(1, len(cumulative)), cumulative[1:], **look)
    kl = [kl_divergence(asked, target_distribution(split.train, policy)) for policy in POLICIES.values()]
    bars = targets.barh(list(POLICIES), kl, color=COLOURS[: len(POLICIES)], height=0.6)
    targets.bar_label(bars, fmt="%.2f", padding=3)
    targets.invert_yaxis()
    targets.set(title="Which items are targets", xlabel="KL of the test's targets, nats", xlim=(0, max(kl) * 1.2))
    users.set(title="Whose sequences train", xlabel="users, longest sequence first", ylabel=PAIRS)
    lengths.set(title="How much history they have", xlabel="items in a history, at most", ylabel=PAIRS)
    lengths.set_xscale("log")
    for axes in (users, lengths):
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(alpha=0.25)
    users.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    users.set_xlim(0, 1)
    users.legend(frameon=False, loc="lower right")
    for axes in (users, targets, lengths):
        axes.title.set(horizontalalignment="left", position=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    mpl.use("agg")
    # The same data give the same file, and text stays text.
    mpl.rcParams.update({"svg.hashsalt": "genpas", "svg.fonttype": "none", "font.family": "sans-serif"})
    draw(movielens()).savefig(PICTURE, metadata={"Date": None})
