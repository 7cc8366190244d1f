"""TIGER: an encoder and a decoder over semantic IDs with exact decoding on a prefix tree.

    semantic IDs ──> TigerNetwork ──> Memory ──> beam_search | score_all | log_likelihood
                     encoder           one a user   the decoder over a PrefixTree, keys and values computed once

This package needs torch and transformers.
"""
