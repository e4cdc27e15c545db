"""One file a figure: its name, its title, and what draws it or says which runs are missing."""
