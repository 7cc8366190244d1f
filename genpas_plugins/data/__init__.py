"""Interactions: the store and its files, readers of other formats, and RecBole's atomic files."""
