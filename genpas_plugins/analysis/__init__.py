"""What a policy trains on, in closed form: only `sampled_alignment` draws samples."""
