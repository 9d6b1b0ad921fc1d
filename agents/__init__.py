"""Bidders: classic strategies and policies learned with RLlib."""
