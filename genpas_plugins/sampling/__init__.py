"""From a policy to batches: the distribution, addressable streams of pairs or windows, and gather."""
