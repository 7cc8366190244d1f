from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError
from genpas_plugins.neural.tiger.prefix_tree import PrefixTree
from genpas_plugins.semantic_ids.codebook import SemanticIds


@st.composite
def catalogues(draw: st.DrawFn) -> SemanticIds:
    """Up to 40 items with distinct IDs of 1 to 4 codes, the codebooks of 1 to 6 codes."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    rows = draw(st.sets(st.tuples(*(st.integers(0, size - 1) for size in sizes)), min_size=1, max_size=40))
    return SemanticIds.of(draw(st.permutations(sorted(rows))), sizes)


def trie_of(ids: SemanticIds) -> dict[int, Any]:
    """Nested dicts from code to subtree; below the last code, the item number."""
    root: dict[int, Any] = {}
    for number, codes in enumerate(ids.codes.tolist(), start=1):
        node = root
        for code in codes[:-1]:
            node = node.setdefault(code, {})
        node[codes[-1]] = number
    return root


def unfold(tree: PrefixTree, level: int = 0, node: int = 0) -> dict[int, Any]:
    """The same nested dicts, read from the tensors; codes that do not rise, or a wrong parent, fail here."""
    slots = range(int(tree.first[level][node]), int(tree.first[level][node + 1]))
    codes = tree.code[level][slots.start : slots.stop].tolist()
    assert codes == sorted(set(codes)) != []
    assert tree.parent[level][slots.start : slots.stop].tolist() == [node] * len(slots)
    if level == tree.depth - 1:
        return {code: int(tree.item[slot]) for code, slot in zip(codes, slots, strict=True)}
    return {code: unfold(tree, level + 1, slot) for code, slot in zip(codes, slots, strict=True)}


def path(tree: PrefixTree, items: torch.Tensor) -> torch.Tensor:
    """The codes of each item, read along the tree."""
    nodes = tree.nodes_of(items)
    return torch.stack([code[nodes[..., level]] for level, code in enumerate(tree.code)], -1)


@given(ids=catalogues())
def test_the_tree_is_the_trie_of_the_ids(ids: SemanticIds):
    assert unfold(PrefixTree.of(ids)) == trie_of(ids)


@given(ids=catalogues())
def test_every_path_leads_to_its_item(ids: SemanticIds):
    tree = PrefixTree.of(ids)
    items = torch.arange(1, ids.n_items + 1)
    nodes = tree.nodes_of(items)
    assert nodes.shape == (ids.n_items, ids.depth)
    assert path(tree, items).tolist() == ids.codes.tolist()
    assert tree.item[nodes[:, -1]].tolist() == items.tolist()
    assert torch.equal(tree.leaf[items], nodes[:, -1])
    for level in range(1, ids.depth):
        assert torch.equal(tree.parent[level][nodes[:, level]], nodes[:, level - 1])


@given(ids=catalogues())
def test_the_tables_have_one_entry_a_node(ids: SemanticIds):
    tree = PrefixTree.of(ids)
    prefixes = [len({tuple(row[:level]) for row in ids.codes.tolist()}) for level in range(ids.depth + 1)]
    assert [tree.n_nodes(level) for level in range(ids.depth + 1)] == prefixes
    for level in range(ids.depth):
        assert len(tree.first[level]) == prefixes[level] + 1
        assert len(tree.code[level]) == len(tree.parent[level]) == prefixes[level + 1]
        assert tree.max_children[level] == int(tree.first[level].diff().max())
    assert len(tree.item) == tree.n_items == ids.n_items
    assert {part.dtype for part in (*tree.first, *tree.code, *tree.parent, tree.item, tree.leaf)} == {torch.int64}


def test_items_of_any_shape_and_device():
    tree = PrefixTree.of(SemanticIds.of([[1, 0], [0, 1], [0, 0]]))
    assert path(tree, torch.tensor([[3, 1], [2, 2]])).tolist() == [[[0, 0], [1, 0]], [[0, 1], [0, 1]]]
    assert tree.to("cpu") is tree
    moved = tree.to("meta")
    assert moved.device.type == "meta"
    assert [part.shape for part in moved.code] == [part.shape for part in tree.code]


@pytest.mark.parametrize("number", [0, -1, 4])
def test_a_number_that_is_no_item_is_refused(number: int):
    tree = PrefixTree.of(SemanticIds.of([[1, 0], [0, 1], [0, 0]]))
    with pytest.raises(InputError, match="from 1 to 3; 0 is padding"):
        tree.nodes_of(torch.tensor([1, number]))


def test_no_items_no_tree():
    with pytest.raises(InputError, match="needs an item"):
        PrefixTree.of(SemanticIds(np.empty((0, 2), np.int32), (2, 2)))


def test_memory_is_that_of_the_nodes():
    codes = np.random.default_rng(0).permutation(1 << 16)[:20_000]
    ids = SemanticIds.of(np.column_stack([codes >> 8, codes & 255, codes * 0]), (256, 256, 256))
    tree = PrefixTree.of(ids)
    nodes = 256 + 20_000 + 20_000
    entries = sum(len(part) for part in (*tree.first, *tree.code, *tree.parent, tree.item, tree.leaf))
    assert entries == 2 * nodes + (1 + 256 + 20_000 + 3) + 2 * 20_000 + 1
