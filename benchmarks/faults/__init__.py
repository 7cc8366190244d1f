"""Campaigns of faults. Each prints trials, survived and failed."""
