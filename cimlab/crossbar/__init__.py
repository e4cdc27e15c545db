"""The ground floor: crossbar geometry, a layer's crossbar matrix, pruning units cut on it, and placement.

Knows nothing of pruning criteria, energy, training or configuration.
"""
