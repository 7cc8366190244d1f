"""BASRec (Dang et al., AAAI 2025): a next-item model that also trains on mixtures of representations.

This is plain torch on embeddings, encoder outputs and one target a history. It knows no framework.
"""
