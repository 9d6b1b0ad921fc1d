"""Physics of one kind of asset each."""
