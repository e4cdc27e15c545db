"""Commands: parse, compose, check, instantiate, run. Hydra lives here, and only here."""
