"""From a policy to batches of training pairs: the distribution, addressable streams, windows and gather."""
