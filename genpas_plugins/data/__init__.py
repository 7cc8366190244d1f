"""Interactions: the SequenceStore, its files, readers of other formats, and RecBole's atomic files."""
