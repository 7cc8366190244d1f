"""Checkpoints of sharded training: `checkpoints.Checkpoints` saves and loads, the rest is what it is made of."""
