"""BASRec: a next-item model that also trains on mixtures of representations (Dang et al., AAAI 2025).

The code is plain torch on embeddings and encoder outputs with one target a history.
"""
