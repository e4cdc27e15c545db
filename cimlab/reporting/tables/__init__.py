"""One file a table: its name, its title, and what fills it or says which runs are missing."""
