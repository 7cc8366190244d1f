"""Checkpoints of sharded training. `checkpoints.Checkpoints` saves and loads them."""
