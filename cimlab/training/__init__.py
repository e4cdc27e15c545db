"""Train, prune, retrain, map: Lightning and the tracker live here, and only here. Receives plain objects."""
