"""Semantic IDs: each item is a short row of codes that texts or histories give."""
