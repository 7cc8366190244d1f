"""Streams in torch: drawn and gathered where the tensors are with the same bits as in numpy.

    random_words ──> pair_draws ──> DeviceStream ──> tensors of a batch

Random words are 32 bits in int64 tensors. A product of two words wraps around in two's complement and keeps its 64
bits. A shift to the right is masked because int64 shifts the sign in. Floating point is float64 with one correctly
rounded kernel an operation: nothing here may be compiled into fused multiply-adds.
"""
