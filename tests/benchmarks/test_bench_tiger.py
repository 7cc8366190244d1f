from __future__ import annotations

import pytest


@pytest.mark.slow
def test_a_quick_run_measures_decoding_and_finds_what_generate_finds(quick_run):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    content, text = quick_run("tiger")
    assert content["quick"] is True and content["command"] == "python -m benchmarks.bench_tiger --quick"
    assert content["versions"]["transformers"] and [words.split()[0] for words in content["skipped"]] == ["A", "Random"]

    sections = content["sections"]
    assert list(sections) == ["targets", "beams", "users", "catalogue", "all items"]
    assert [record["dtype"] for record in sections["targets"]] == ["float32", "bfloat16"]
    assert all(len(record["cpu"]) == 5 for record in sections["targets"])
    assert all(0 < record["constraint"] < 1 for record in sections["users"])
    assert [record["threads"] for record in sections["beams"]] == [1]
    for record in sections["beams"]:
        assert list(record["wall"]) == ["beam_search", "beam_search, every prefix decoded", "generate"]
        assert record["same_items"] == 1 and record["score_gap"] < 1e-4
        assert record["decoded"][0] == [1, 1] and len(record["decoded"]) == 4
    assert list(sections["catalogue"][0]["cpu"]) == ["encoder", "100", "1000"]
    scored = sections["all items"][0]
    assert all(some <= of for some, of in zip(scored["prefixes"], scored["of"], strict=True))
    assert len(content["goals"]) == 7 and all(goal["what"] in text for goal in content["goals"])


def test_goals_take_the_processor_time_of_the_fastest_repeats():
    pytest.importorskip("torch")
    from benchmarks.tiger_decoding import EVERY, OURS, PEER, goals

    def record(wall, cpu):
        seen = [
            {
                way: {"min": of, "median": 9 * of, "max": 99 * of}
                for way, of in zip((OURS, EVERY, PEER), times, strict=True)
            }
            for times in (wall, cpu)
        ]
        return {"beams": 20, "wall": seen[0], "cpu": seen[1]}

    found = goals({"beams": [record((1, 1, 1), (1, 2, 8))]})
    assert [(goal.measured, goal.met) for goal in found] == [(8, True), (4, False)]
    cpu = {way: {"min": of} for way, of in (("encoder", 1), ("10", 2), ("1000", 5))}
    assert goals({"catalogue": [{"cpu": cpu}]})[0].measured == 2.5
