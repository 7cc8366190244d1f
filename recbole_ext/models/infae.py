"""∞-AE in RecBole.

"Infinite Recommendation Networks: A Data-Centric Approach" (Sachdeva et al., NeurIPS 2022). An autoencoder of users'
item sets with one infinitely wide hidden layer is kernel ridge regression with its neural tangent kernel. One linear
system has the answer and nothing is trained.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.trainer import Trainer
from scipy.linalg import solve
from scipy.sparse import csr_array
from torch import Tensor, nn

from genpas_plugins.support.array_types import Float64
from genpas_plugins.support.errors import InputError, whole_number

WEIGHT, BIAS = 2.0, 0.01  # variances of the layers' weights and biases in the authors' network: √2 and 0.1 squared


def tangent_kernel(one: csr_array, other: csr_array) -> Float64:
    """Return the neural tangent kernel `float64 [n, m]` of two sets of inputs for one hidden layer of ReLU.

    Parameters
    ----------
    one, other : [n, d] and [m, d], rows of inputs
    """
    width = one.shape[1]

    def squared(inputs: csr_array) -> Float64:
        return np.asarray(WEIGHT * inputs.multiply(inputs).sum(1).ravel() / width + BIAS)

    linear = WEIGHT * (one @ other.T).toarray() / width + BIAS
    norms = np.sqrt(np.outer(squared(one), squared(other)))
    angle = np.arccos(np.clip(linear / norms, -1, 1))
    hidden = norms * (np.sin(angle) + (math.pi - angle) * np.cos(angle)) / (2 * math.pi)
    slope = (math.pi - angle) / (2 * math.pi)
    result: Float64 = WEIGHT * (hidden + slope * linear) + BIAS
    return result


class InfAE(SequentialRecommender):
    """∞-AE as a RecBole model with the settings of InfAE.yaml.

    A user is the set of at most MAX_ITEM_LIST_LENGTH items in the history that RecBole gives. The order of the items
    and the policy of the `genpas` key have no effect. The training matrix has the users of the training split with
    all their items. Building the kernel takes about 40 bytes for each pair of users. The solution takes 8 bytes for
    each user and item. `users` limits both: more users are sampled down with the configuration's seed.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        limit, ridge = whole_number("InfAE's users", config["users"], 1), float(config["ridge"])
        if not ridge >= 0:
            raise InputError(f"InfAE's ridge is {ridge}, and must be 0 or more.")
        seen = csr_array(dataset.inter_matrix(form="csr"))
        users = np.flatnonzero(np.diff(seen.indptr))
        if len(users) > limit:
            users = np.sort(np.random.default_rng(config["seed"]).choice(users, limit, replace=False))
        self.inputs = csr_array((seen[users] > 0).astype(np.float64))
        kernel = tangent_kernel(self.inputs, self.inputs)
        np.fill_diagonal(kernel, kernel.diagonal() + ridge * kernel.diagonal().mean())
        self.trained_on = {"users of the kernel": len(users)}
        self.solution = solve(kernel, self.inputs.toarray(), assume_a="pos", overwrite_a=True, overwrite_b=True)
        self.unused = nn.Parameter(torch.zeros(1))  # RecBole's optimiser needs a parameter

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Return the scores `[B, n_items]` of all items for right-padded histories `int64 [B, L]`."""
        items = item_seq.cpu().numpy()
        rows, places = np.nonzero(items)
        asked = csr_array((np.ones(len(rows)), (rows, items[rows, places])), (len(items), self.n_items))
        asked.data[:] = 1  # a repeated item counts once
        return torch.from_numpy(tangent_kernel(asked, self.inputs) @ self.solution).float().to(item_seq.device)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return 0: nothing is trained."""
        return self.unused.sum() * 0

    def predict(self, interaction: Any) -> Tensor:
        """Return the score `[B]` of each row's item."""
        return self.full_sort_predict(interaction).gather(1, interaction[self.ITEM_ID][:, None])[:, 0]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Return the scores `[B, n_items]` of all items."""
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])


class InfAETrainer(Trainer):
    """RecBole's Trainer for exactly one epoch because there is nothing to train."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.epochs = self.eval_step = 1
