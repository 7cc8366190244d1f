"""The table of code bases, and its figures against a count of the pairs of an epoch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.frameworks import FRAMEWORKS, framework_figures, frameworks_named
from genpas_plugins.analysis.target_distribution import last_target_distribution
from genpas_plugins.cli import app
from genpas_plugins.pages.framework_report import render_frameworks
from genpas_plugins.sampling.constructions import CONSTRUCTIONS
from genpas_plugins.sampling.policy import named_policy
from genpas_plugins.sampling.stream import pair_stream


@pytest.fixture(scope="module")
def store() -> SequenceStore:
    random = np.random.default_rng(5)
    lengths = random.integers(3, 90, 40)
    return SequenceStore.from_arrays(random.integers(1, 30, lengths.sum()), np.cumsum([0, *lengths]), n_items=30)


def test_forty_code_bases_use_the_registry():
    assert len(FRAMEWORKS) >= 40
    assert {of.strategy.split(":")[0] for of in FRAMEWORKS.values()} >= CONSTRUCTIONS.keys() - {
        "last_targets",
        "slide_window",
    }


def test_figures_are_counts_of_an_epoch(store: SequenceStore):
    split = store.leave_last_out()
    rows = {row["key"]: row for row in framework_figures(split, FRAMEWORKS)}
    assert list(rows) == sorted(rows, key=lambda key: rows[key]["kl_validation"])
    for key in ("rectools", "warprec_windows", "dense_all_action", "recbole3", "nvidia"):
        framework = FRAMEWORKS[key]
        stream = pair_stream(split.train, named_policy(framework.strategy), seed=1)
        index = np.arange(stream.size)
        batch = stream.batch(0, index, framework.length)
        trained = np.bincount(store.values[batch.targets.rows], minlength=31) / stream.size
        asked = last_target_distribution(split.validation)
        assert rows[key]["kl_validation"] == pytest.approx(kl_divergence(asked, trained))
        assert rows[key]["items"] == pytest.approx(np.mean(trained[asked > 0] > 0))
        empty = np.count_nonzero(stream.pairs(0, index).target == stream.pairs(0, index).start)
        assert rows[key]["history_length"] == pytest.approx((batch.histories.lengths.sum() - empty) / stream.size)
        users = np.array(list(Counter(batch.histories.sequence.tolist()).values())) / stream.size
        assert rows[key]["effective_users"] == pytest.approx(np.exp(-users @ np.log(users)))


def test_an_unknown_code_base_is_refused():
    with pytest.raises(InputError, match="Did you mean 'recbole'"):
        frameworks_named(["recbol"])
    assert frameworks_named(["grid", "all"]) == FRAMEWORKS


def test_the_command_writes_the_page(store: SequenceStore, tmp_path: Path):
    store.save(tmp_path / "a <b> store")
    words = ["analyze", str(tmp_path / "a <b> store"), "--framework", "grid,rqvae", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert [row["key"] for row in report["frameworks"]] in (["grid", "rqvae"], ["rqvae", "grid"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page == render_frameworks(report)
    assert "a &lt;b&gt; store" in page and "grid_windows:users=32" in page
    refused = CliRunner().invoke(app, [*words, "--overwrite", "--point", "1,0,0"])
    assert refused.exit_code and "strategies of its own" in refused.stderr
