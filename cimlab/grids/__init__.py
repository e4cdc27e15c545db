"""Grids of runs: one experiment file in, every point planned, run once, and watched."""
