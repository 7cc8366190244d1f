from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tiny():
    """Return a function that makes a small network of random weights, its tree, and its IDs."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from genpas_plugins.neural.tiger.network import TigerNetwork
    from genpas_plugins.neural.tiger.prefix_tree import PrefixTree
    from genpas_plugins.semantic_ids.codebook import SemanticIds

    def make(n_items=60, codes=4, levels=3, seed=0, **options):
        table = np.random.default_rng(seed).integers(codes, size=(n_items, levels))
        ids = SemanticIds.resolve(table, (codes,) * levels)
        shape = {"d_model": 16, "heads": 2, "head_size": 8, "d_ff": 32, "encoder_layers": 2, "decoder_layers": 2}
        torch.manual_seed(seed)
        network = TigerNetwork(ids, **{**shape, "max_history": 6, **options}).eval()
        with torch.no_grad():
            network.output.normal_(0, 0.3)  # the first scale is too even to tell items apart
        return network, PrefixTree.of(ids), ids

    return make


@pytest.fixture(scope="session")
def histories():
    """Return a function that draws right-padded histories and their lengths."""
    torch = pytest.importorskip("torch")

    def draw(n_items, users=5, longest=6, seed=0):
        generator = torch.Generator().manual_seed(seed)
        items = torch.randint(1, n_items + 1, (users, longest), generator=generator)
        lengths = torch.randint(1, longest + 1, (users,), generator=generator)
        return items * (torch.arange(longest) < lengths[:, None]), lengths

    return draw
