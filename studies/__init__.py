"""Studies: the papers' experiments and what prints the tables of the docs; imported by nobody."""
