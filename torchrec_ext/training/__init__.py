"""One training run from its configuration to its results.

    configuration → ranks → folder → run (model, optimizers, batches) → loop → results

`torchrec_ext.train` is the command line.
"""
