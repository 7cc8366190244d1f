"""Losses and dropout that models share."""
