"""Training methods beyond training, pruning and retraining by themselves: one file each, chosen as a list."""
