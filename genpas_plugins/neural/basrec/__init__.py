"""BASRec (Dang et al., AAAI 2025): a next-item model trained on mixtures of representations, beside its plain loss.

Plain torch on embeddings, encoder outputs and one target a history; it knows no framework and no model.
"""
