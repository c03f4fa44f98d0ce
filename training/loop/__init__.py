"""Run a training: batches, steps, checkpoints, curves."""
