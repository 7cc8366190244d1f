"""Semantic IDs: items as short rows of discrete codes, made from their text or from how they are used together."""
