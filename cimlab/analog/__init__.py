"""The functional model: what accuracy a network keeps when its matrix products run on crossbar arrays.

Weights sliced into cells, inputs fed bit by bit, one ADC conversion per row group, physical column and input
cycle (domain model, section 7). Drop-in layers; knows nothing of pruning criteria, cost or training.
"""
