"""What is built on top of any ledger: one layer per module, each found by itself."""
