"""Data sets as Lightning data modules: one file a data set, and one contract.

Validation images are split off the training set and serve every choice; test images are used once, at
the end.
"""
