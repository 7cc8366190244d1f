from __future__ import annotations

import pytest


@pytest.mark.slow
@pytest.mark.distributed
def test_a_quick_run_measures_everything_that_needs_no_device_and_says_what_it_skipped(quick_run):
    pytest.importorskip("torchrec")
    pytest.importorskip("recbole")
    pytest.importorskip("numba")
    import torch

    content, text = quick_run("torchrec")
    on_device = torch.cuda.is_available()
    assert content["quick"] is True and content["command"] == "python -m benchmarks.bench_torchrec --quick"
    assert {"torch", "torchrec", "fbgemm-gpu-cpu"} <= set(content["versions"])
    assert [words.split()[0] for words in content["skipped"]] == ["Data", *([] if on_device else ["The"])]

    sections = content["sections"]
    assert list(sections) == ["waiting", "stage", *(["device"] if on_device else []), "steps"]
    ways = {(of["way"], of["backend"]) for record in sections["waiting"] for of in record["ways"]}
    assert {("no thread", "numpy"), ("one thread", "numpy"), ("one thread", "numba")} <= ways
    for record in sections["waiting"]:
        assert all(0 < of["wait_s"]["min"] <= of["step_s"]["max"] for of in record["ways"])
        assert all(0 < of["share"]["min"] <= of["share"]["median"] <= of["share"]["max"] < 1 for of in record["ways"])
    assert [(record["step"], record["strategy"]) for record in sections["waiting"]] == [
        ("SASRec", "sampled 1,0,0"),
        ("10 ms asleep", "sampled 1,0,0"),
    ]
    assert all(set(record["rates"]) == {"stage", "numpy", "numba", "copy"} for record in sections["stage"])
    assert [record["ranks"] for record in sections["steps"]] == [1, 2]
    for record in sections["steps"]:
        assert list(record["ways"]) == ["unsharded", "gather", "vocab_parallel", "sampled"]
        assert all(0 < of["min"] <= of["median"] <= of["max"] for of in record["ways"].values())

    assert len(content["goals"]) == 2 * len(sections["waiting"])
    assert all(goal["what"] in text for goal in content["goals"])


def test_the_device_measurement_runs_where_the_device_is_the_cpu(tmp_path, monkeypatch):
    pytest.importorskip("torchrec")
    from benchmarks import torchrec_input
    from benchmarks.sizes import Shape
    from benchmarks.synthetic import write_store

    monkeypatch.setattr(torchrec_input, "_COPIED", 1 << 10)
    store = tmp_path / "store"
    write_store(store, Shape(20, 30, 400))
    record = torchrec_input.on_device(
        path=str(store), policy="multi_target", batch=64, count=3, repeats=1, device="cpu"
    )
    drawn = torchrec_input.batches(str(store), torchrec_input.POLICIES["multi_target"], 64).batch(0, 0)
    # Items, lengths of both keys and addresses are int64, weights float32.
    assert record["batch_bytes"] == 8 * (len(drawn.features.values()) + 2 * 64 + 64) + 4 * 64
    assert record["rates"]["stage"]["median"] > 0 and record["bandwidth"]["median"] > 0


def test_the_share_of_the_bandwidth_is_bytes_written_a_second_by_bytes_copied_a_second():
    from benchmarks.torchrec_input import device_share

    rates = {"stage": {"median": 1e6}}
    record = {"batch": 64, "batch_bytes": 640, "rates": rates, "bandwidth": {"median": 1e8}}
    assert device_share(record) == pytest.approx(0.1)
