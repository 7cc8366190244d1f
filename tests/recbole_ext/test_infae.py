"""∞-AE: its kernel against a wide network's, the limits of its ridge, and that it completes sets of items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.quick_start import run_recbole
from scipy.sparse import csr_array

from genpas_plugins import InputError
from recbole_ext.models.infae import BIAS, WEIGHT, InfAE, tangent_kernel


def test_the_kernel_is_that_of_a_wide_network():
    """The sum over all parameters of the products of the gradients of one output, at a width of 20,000."""
    inputs = torch.tensor([[1.0, 1, 0, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0]], dtype=torch.float64)
    width, random = 20_000, torch.Generator().manual_seed(1)
    weights = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((5, width), (width,), (width,))]
    bias = torch.zeros(1, dtype=torch.float64)
    parameters = [each.requires_grad_() for each in (*weights, bias)]
    gradients = []
    for row in inputs:
        hidden = torch.relu((WEIGHT / 5) ** 0.5 * row @ weights[0] + BIAS**0.5 * weights[1])
        output = (WEIGHT / width) ** 0.5 * hidden @ weights[2] + BIAS**0.5 * bias[0]
        gradients.append(torch.cat([each.flatten() for each in torch.autograd.grad(output, parameters)]))
    finite = torch.stack([torch.stack([one @ other for other in gradients]) for one in gradients]).numpy()
    rows = csr_array(inputs.numpy())
    np.testing.assert_allclose(tangent_kernel(rows, rows), finite, rtol=0.1)


@pytest.fixture(scope="module")
def made(prepare: Callable[..., Any]) -> Callable[..., tuple[Any, InfAE]]:
    """Return `made(**settings)`: what RecBole prepares, and the model."""

    def of(**changes: Any) -> tuple[Any, InfAE]:
        prepared = prepare("multi_target", "InfAE", MAX_ITEM_LIST_LENGTH=20, **changes)
        return prepared, InfAE(prepared.config, prepared.train._dataset)

    return of


def test_it_is_ridge_regression_in_the_kernel(made: Callable[..., Any]):
    prepared, model = made(ridge=0.5)
    seen = (prepared.train._dataset.inter_matrix(form="csr").toarray() > 0).astype(float)
    rows = csr_array(seen[seen.any(1)])
    kernel = tangent_kernel(rows, rows)
    weights = np.linalg.inv(kernel + 0.5 * np.trace(kernel) / len(kernel) * np.eye(len(kernel))) @ rows.toarray()
    histories = torch.tensor([[3, 5, 3, 0], [4, 0, 0, 0]])
    asked = np.zeros((2, rows.shape[1]))
    asked[0, [3, 5]] = asked[1, 4] = 1
    expected = torch.from_numpy(tangent_kernel(csr_array(asked), rows) @ weights).float()
    torch.testing.assert_close(model(histories, torch.tensor([3, 1])), expected, rtol=1e-4, atol=1e-5)
    batch = next(iter(prepared.train))
    scores = model.full_sort_predict(batch)
    torch.testing.assert_close(model.predict(batch), scores[torch.arange(len(batch)), batch["item_id"]])


def test_more_users_are_sampled_with_the_seed(made: Callable[..., Any]):
    samples = [made(users=5, seed=seed)[1] for seed in (1, 1, 2)]
    assert all(sample.trained_on == {"users of the kernel": 5} for sample in samples)
    first, again, other = (sample.inputs.toarray() for sample in samples)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_it_completes_sets(tmp_path: Path):
    """Users have all items of one of three groups but one, in any order: the missing one is the group's."""
    folder, random = tmp_path / "sets", np.random.default_rng(3)
    folder.mkdir()
    rows = [
        f"u{u}\ti{u % 3}{item}\t{t}" for u in range(60) for t, item in enumerate(random.permutation(8)[: 7 + u % 2])
    ]
    (folder / "sets.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    settings = {
        "data_path": str(tmp_path),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "genpas": "multi_target",
        "mask_history": True,
        "train_neg_sample_args": None,
        "epochs": 4,
        "eval_step": 4,
        "metrics": ["Recall"],
        "topk": [2],
        "valid_metric": "Recall@2",
        "state": "ERROR",
        "show_progress": False,
    }
    # Two items of the group are left out of a history of six, and one of them is the target.
    result = run_recbole("InfAE", "sets", config_dict={**settings, "checkpoint_dir": str(tmp_path)})
    assert result["test_result"]["recall@2"] == 1


def test_a_negative_ridge_is_refused(made: Callable[..., Any]):
    with pytest.raises(InputError, match=r"InfAE's ridge is -1.0, and must be 0 or more"):
        made(ridge=-1)
