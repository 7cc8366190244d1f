"""Interactions as a store, and readers and writers of other formats."""
