"""Device models, one file each: what programming, time and wires do to a cell's conductance."""
