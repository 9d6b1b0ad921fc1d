"""One kind of ledger per module; each registers itself, and every module here is found."""
