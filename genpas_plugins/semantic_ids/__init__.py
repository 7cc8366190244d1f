"""Semantic IDs: items as short rows of discrete codes, made from texts or from histories."""
