"""Community prices: one rule sets the price for all who accept it."""
