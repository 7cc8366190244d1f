"""From a policy to batches: addressable streams of pairs or windows."""
