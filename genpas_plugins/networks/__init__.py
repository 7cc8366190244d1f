"""Networks that are no RecBole model by themselves: TIGER's encoder and decoder, and exact decoding on a prefix tree.

    semantic IDs ──> TigerNetwork ──> Memory ──> beam_search | score_all | log_likelihood
                     encoder           one a user   the decoder over a PrefixTree, keys and values computed once

Needs torch and transformers; imported by name (`genpas_plugins.networks.tiger`), so that the core stays free of both.
"""
