"""cimlab: how should a network be pruned so that a compute-in-memory accelerator really gets faster?"""

__version__ = "0.1.0"
