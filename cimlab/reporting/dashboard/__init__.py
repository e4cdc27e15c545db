"""The page behind `cimlab dashboard`, a file a view; what is chosen on it stands in its address."""
