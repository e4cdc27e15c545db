"""What to prune: granularities, saliencies, budgets, schedules and masks. Torch only, no framework."""
