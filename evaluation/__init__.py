"""Evaluation: bidders, markets and ledgers compared on held-out days, and the report about it."""
