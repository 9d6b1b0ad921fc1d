"""Signed, hash-linked blocks: writing them, verifying them, and what they disclose."""
