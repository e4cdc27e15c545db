"""Components of a price that are told apart by name, on the floor where prices are made and where they are shown."""

SUPPORT = ("index_memory", "input_selection", "output_alignment")
"""Those that exist for pruning's sake alone."""
OFF_ARRAYS = ("digital_weights", "activation_products")
"""Products that no array computes."""
