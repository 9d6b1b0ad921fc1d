"""What a place in a block costs: one rule per module; each registers itself, and is found."""
