"""Learned bidders: RLlib on whole market batches, its runs and its checkpoints."""
