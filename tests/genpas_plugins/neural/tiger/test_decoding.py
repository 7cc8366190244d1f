# ruff: noqa: E402 – without torch there is nothing to import

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from genpas_plugins.neural.tiger import decoding
from genpas_plugins.neural.tiger.decoding import beam_search, log_likelihood, score_all
from genpas_plugins.neural.tiger.network import Memory, TigerNetwork
from genpas_plugins.neural.tiger.prefix_tree import PrefixTree
from genpas_plugins.semantic_ids.codebook import SemanticIds
from genpas_plugins.support.errors import InputError


def encode(network, item_seq, lengths):
    with torch.no_grad():
        return network.encode(network.history_tokens(item_seq, lengths))


def brute_force(network, ids, memory):
    """Return every item's constrained log-likelihood by transformers' own decoder: every item for every user."""
    codes = ids.codes.tolist()
    users, n_items = len(memory.states), len(codes)
    tokens = network.tokens_of(torch.arange(1, n_items + 1)).repeat(users, 1)
    with torch.no_grad():
        states = network.decode(Memory(*(part.repeat_interleave(n_items, 0) for part in memory)), tokens)
        states = states.view(users, n_items, *states.shape[1:])
        scores = torch.zeros(users, n_items)
        for number, code in enumerate(codes):
            for level in range(ids.depth):
                valid = sorted({other[level] for other in codes if other[:level] == code[:level]})
                logits = network.logits(states[:, number, level], level)[:, valid]
                scores[:, number] += logits.log_softmax(1)[:, valid.index(code[level])]
    return scores


def all_items(tree, users):
    return torch.arange(1, tree.n_items + 1).expand(users, -1)


@settings(max_examples=15, deadline=None)
@given(
    catalogue=st.tuples(st.integers(1, 40), st.integers(1, 6), st.integers(1, 3)),
    seed=st.integers(0, 999),
)
def test_three_ways_and_brute_force_agree_on_any_catalogue(tiny, histories, catalogue, seed):
    network, tree, ids = tiny(*catalogue, seed)
    n_items = tree.n_items
    memory = encode(network, *histories(n_items, users=3, seed=seed))
    expected = brute_force(network, ids, memory)
    scores = score_all(network, tree, memory)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(log_likelihood(network, tree, memory, all_items(tree, 3)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.logsumexp(1), torch.zeros(3), atol=1e-5, rtol=0)
    items, log_probs = beam_search(network, tree, memory, beams=n_items, top_k=n_items)
    assert (items.sort(1).values == all_items(tree, 3)).all()
    torch.testing.assert_close(log_probs, expected.gather(1, items - 1), atol=1e-5, rtol=0)
    assert (log_probs.diff(dim=1) <= 0).all()


def test_the_likelihood_of_one_item_a_user_is_that_among_all(tiny, histories):
    network, tree, _ = tiny()
    memory = encode(network, *histories(60))
    items = torch.tensor([1, 60, 7, 7, 33])
    expected = score_all(network, tree, memory).gather(1, items[:, None] - 1)[:, 0]
    torch.testing.assert_close(log_likelihood(network, tree, memory, items), expected, atol=1e-5, rtol=0)


def test_few_beams_find_different_items_of_the_catalogue_with_their_exact_scores(tiny, histories):
    network, tree, _ = tiny(n_items=200, codes=8)
    memory = encode(network, *histories(200, users=20))
    items, log_probs = beam_search(network, tree, memory, beams=12, top_k=6)
    assert items.shape == log_probs.shape == (20, 6) and items.dtype == torch.int64
    assert all(len(set(row)) == 6 and min(row) >= 1 and max(row) <= 200 for row in items.tolist())
    exact = score_all(network, tree, memory)
    torch.testing.assert_close(log_probs, exact.gather(1, items - 1), atol=1e-5, rtol=0)
    assert (log_probs[:, 0] <= exact.max(1).values + 1e-5).all()


def search_by_hand(network, ids, memory, beams, without=()):
    """Return one user's beam search, by a dictionary of prefixes; scores from whole forward passes."""
    codes = [tuple(code) for code in ids.codes.tolist()]
    wanted = [code for item, code in enumerate(codes, start=1) if item not in without]
    kept = {(): 0.0}
    for level in range(ids.depth):
        found = {}
        for prefix, score in kept.items():
            valid = sorted({code[level] for code in codes if code[:level] == prefix})
            member = next(number for number, code in enumerate(codes) if code[:level] == prefix)
            with torch.no_grad():
                states = network.decode(memory, network.tokens_of(torch.tensor([member + 1])))
                log_probs = network.logits(states[:, level], level)[0, valid].log_softmax(0)
            found |= {(*prefix, code): score + float(log_probs[place]) for place, code in enumerate(valid)}
        found = {prefix: score for prefix, score in found.items() if any(c[: level + 1] == prefix for c in wanted)}
        kept = dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:beams])
    return [(codes.index(code) + 1, score) for code, score in kept.items()]


@pytest.mark.parametrize("beams", [1, 3, 7])
def test_beam_search_is_the_textbook_one(tiny, histories, beams):
    network, tree, ids = tiny(n_items=80, codes=5)
    memory = encode(network, *histories(80, users=3))
    items, log_probs = beam_search(network, tree, memory, beams=beams, top_k=beams)
    for user in range(3):
        expected = search_by_hand(network, ids, Memory(*(part[user : user + 1] for part in memory)), beams)
        assert items[user].tolist() == [item for item, _ in expected]
        assert log_probs[user].tolist() == pytest.approx([score for _, score in expected], abs=1e-5)


@pytest.mark.parametrize("beams", [1, 7, 80])
def test_what_a_user_is_not_to_get_takes_up_no_beams(tiny, histories, beams):
    network, tree, ids = tiny(n_items=80, codes=5)
    memory = encode(network, *histories(80, users=4))
    favourites = beam_search(network, tree, memory, beams=80, top_k=80)[0]
    # The best 30 of the first user, one of them twice; none; all; all but the last.
    without = [
        [*favourites[0, :30].tolist(), int(favourites[0, 3])],
        [],
        list(range(1, 81)),
        favourites[3, :79].tolist(),
    ]
    jagged = torch.tensor([(user, item) for user, items in enumerate(without) for item in items]).T.flip(1)
    items, log_probs = beam_search(network, tree, memory, beams=beams, top_k=beams, without=tuple(jagged))
    for user, left_out in enumerate(without):
        alone = Memory(*(part[user : user + 1] for part in memory))
        expected = search_by_hand(network, ids, alone, beams, left_out)
        assert len(expected) == min(beams, 80 - len(set(left_out)))
        assert items[user].tolist() == [item for item, _ in expected] + [0] * (beams - len(expected))
        scores = [score for _, score in expected] + [-math.inf] * (beams - len(expected))
        assert log_probs[user].tolist() == pytest.approx(scores, abs=1e-5)


def test_where_every_prefix_is_decoded_the_answer_is_the_same(tiny, histories, monkeypatch):
    network, tree, _ = tiny(n_items=100, codes=6)
    memory = encode(network, *histories(100))
    items, log_probs = beam_search(network, tree, memory, beams=20, top_k=10)
    decoded = []
    seen = decoding._to_decode
    monkeypatch.setattr(decoding, "_to_decode", lambda *of: decoded.append(seen(*of).shape[1]) or seen(*of))
    beam_search(network, tree, memory, beams=20, top_k=10)
    assert decoded[0] == 1 and decoded[-1] < 20  # there was something to leave out
    monkeypatch.setattr(decoding, "_to_decode", lambda tree, level, node, score: decoding._columns(node))
    again, as_before = beam_search(network, tree, memory, beams=20, top_k=10)
    assert torch.equal(items, again)
    torch.testing.assert_close(log_probs, as_before, atol=1e-5, rtol=0)


def test_beams_that_find_no_item_are_item_0_with_minus_infinity(tiny, histories):
    network, tree, _ = tiny(n_items=3)
    memory = encode(network, *histories(3))
    items, log_probs = beam_search(network, tree, memory, beams=50, top_k=5)
    assert [sorted(row) for row in items.tolist()] == [[0, 0, 1, 2, 3]] * 5
    assert (items[:, 3:] == 0).all() and log_probs[:, 3:].isneginf().all() and log_probs[:, :3].isfinite().all()


def test_a_narrow_root_leaves_no_dead_beam_among_the_results(tiny, histories):
    # One child at the first level and two at the second: fewer prefixes than beams until the last level.
    network, _, _ = tiny(n_items=60, codes=8, levels=2)
    ids = SemanticIds.of([[0, code % 2, code // 2] for code in range(12)], network.sizes)
    network.codes = F.pad(torch.tensor(ids.codes), (0, 0, 1, 0))
    tree = PrefixTree.of(ids)
    memory = encode(network, *histories(12))
    items, log_probs = beam_search(network, tree, memory, beams=6, top_k=6)
    assert log_probs.isfinite().all() and (items > 0).all()


def test_of_equal_items_the_lower_number_comes_first(tiny, histories):
    network, tree, _ = tiny(n_items=30, codes=30, levels=1)
    with torch.no_grad():
        network.output.zero_()
    memory = encode(network, *histories(30))
    items, _ = beam_search(network, tree, memory, beams=30, top_k=30)
    scores = score_all(network, tree, memory)
    for row, score in zip(items.tolist(), scores, strict=True):
        assert row == sorted(range(1, 31), key=lambda item: (-round(float(score[item - 1]), 4), item))


def test_the_order_of_scores_is_total_and_true_to_them():
    scores = torch.tensor([[-1.5, 0.0, -math.inf, -1.5, -0.0, -1e-30, -3e38, -math.inf]])
    numbers = torch.tensor([[8, 7, 6, 5, 4, 3, 2, 1]])
    assert decoding._best(scores, numbers, 8)[0].tolist() == [4, 1, 5, 3, 0, 6, 7, 2]


def test_padding_and_the_rest_of_the_batch_change_nothing(tiny, histories):
    network, tree, _ = tiny()
    item_seq, lengths = histories(60, users=8, longest=6)
    lengths[0] = 6
    scores = score_all(network, tree, encode(network, item_seq, lengths))
    items, log_probs = beam_search(network, tree, encode(network, item_seq, lengths), beams=20, top_k=10)
    noise = torch.where(torch.arange(6) < lengths[:, None], item_seq, 59)
    noisy = score_all(network, tree, encode(network, F.pad(noise, (0, 3), value=7), lengths))
    assert torch.equal(noisy, scores)
    for user in range(8):
        length = int(lengths[user])
        memory = encode(network, item_seq[user : user + 1, :length], lengths[user : user + 1])
        torch.testing.assert_close(score_all(network, tree, memory)[0], scores[user], atol=1e-6, rtol=1e-6)
        alone, alone_log_probs = beam_search(network, tree, memory, beams=20, top_k=10)
        assert torch.equal(alone[0], items[user])
        torch.testing.assert_close(alone_log_probs[0], log_probs[user], atol=1e-6, rtol=1e-6)


def test_users_scored_in_several_parts_are_scored_the_same(tiny, histories, monkeypatch):
    network, tree, _ = tiny()
    memory = encode(network, *histories(60, users=7))
    scores = score_all(network, tree, memory)
    monkeypatch.setattr(decoding, "ROWS", 40)
    torch.testing.assert_close(score_all(network, tree, memory), scores, atol=1e-6, rtol=1e-6)


def test_the_table_is_asked_equally_often_whatever_the_users(tiny, histories, monkeypatch):
    network, tree, _ = tiny(n_items=40, codes=40, levels=2)  # most prefixes are one item's
    memory = encode(network, *histories(40, users=6))
    monkeypatch.setattr(decoding, "ROWS", 1)
    calls = []
    network.token_embedding.register_forward_hook(lambda *_: calls.append(1))
    for users in (1, 6):
        part = Memory(memory.states[:users], memory.mask[:users])
        for run in (
            lambda of=part: score_all(network, tree, of),
            lambda of=part: beam_search(network, tree, of, beams=4, top_k=2),
            lambda of=part, n=users: log_likelihood(network, tree, of, torch.arange(1, n + 1)),
        ):
            calls.clear()
            run()
            assert len(calls) == tree.depth - 1


def test_few_beams_miss_the_best_items_where_their_prefix_is_no_likelier_than_others(histories):
    # Without output weights each code of a prefix is equally likely: the first codes tie, and an only child is certain.
    codes = [[first, second] for first in (0, 1) for second in range(8)] + [[2, 0], [3, 0]]
    ids = SemanticIds.of(codes)
    network = TigerNetwork(ids, d_model=8, heads=2, head_size=4, d_ff=8, encoder_layers=1, decoder_layers=1).eval()
    with torch.no_grad():
        network.output.zero_()
    memory = encode(network, *histories(len(codes)))
    quarter, part = math.log(1 / 4), math.log(1 / 32)
    for beams, items, scores in ((2, [1, 2], [part, part]), (4, [17, 18], [quarter, quarter])):
        found, log_probs = beam_search(network, PrefixTree.of(ids), memory, beams=beams, top_k=2)
        assert found.tolist() == [items] * 5
        torch.testing.assert_close(log_probs, torch.tensor([scores] * 5))


def test_transformers_own_generate_finds_the_same_items_and_scores(tiny, histories):
    from benchmarks.tiger_peer import allowed_tokens, as_t5, generate

    network, tree, ids = tiny(n_items=120, codes=6)
    item_seq, lengths = histories(120)
    peer = as_t5(network)
    tokens = network.history_tokens(item_seq, lengths)
    found, scores = generate(peer, allowed_tokens(network, ids), tokens, depth=ids.depth, beams=10)
    items, log_probs = beam_search(network, tree, encode(network, item_seq, lengths), beams=10, top_k=10)
    assert torch.equal(network.tokens_of(items), found)
    torch.testing.assert_close(log_probs, scores, atol=1e-5, rtol=0)


def test_more_results_than_beams_and_unknown_items_are_refused(tiny, histories):
    network, tree, _ = tiny()
    memory = encode(network, *histories(60))
    with pytest.raises(InputError, match="top_k is 10 and beams 9"):
        beam_search(network, tree, memory, beams=9, top_k=10)
    with pytest.raises(InputError, match="top_k must be a whole number from 1"):
        beam_search(network, tree, memory, beams=9, top_k=0)
    with pytest.raises(InputError, match="from 1 to 60"):
        log_likelihood(network, tree, memory, torch.tensor([1, 2, 3, 61, 5]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_finds_what_the_cpu_finds(tiny, histories):
    network, tree, _ = tiny(n_items=200, codes=8)
    item_seq, lengths = histories(200)
    expected = score_all(network, tree, encode(network, item_seq, lengths))
    try:
        network, tree = network.cuda(), tree.to("cuda")
        memory = encode(network, item_seq.cuda(), lengths.cuda())
        scores = score_all(network, tree, memory).cpu()
        items, log_probs = (part.cpu() for part in beam_search(network, tree, memory, beams=200, top_k=20))
    finally:
        network.cpu()
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(log_probs, expected.gather(1, items - 1), atol=1e-4, rtol=0)
