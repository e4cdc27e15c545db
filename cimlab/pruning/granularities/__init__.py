"""One file a granularity: which weights of a crossbar matrix are pruned together, and what may be skipped."""
