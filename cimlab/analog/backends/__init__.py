"""Ways to compute the same codes: an obviously right one, an exact shortcut, and fast ones."""
