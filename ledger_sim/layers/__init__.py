"""Layers on top of any ledger: one per module, each found by itself."""
