"""Losses and dropout that models share: over the whole catalogue, one value a history."""
