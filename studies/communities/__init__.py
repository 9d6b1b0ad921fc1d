"""Community sizes: what the ledger takes of the savings that trade brings."""
