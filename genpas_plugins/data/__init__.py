"""Interactions as a store with readers and writers of other formats."""
