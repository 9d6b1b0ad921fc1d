"""Fee rules, the price of room in a block: one per module, each found by itself."""
