"""Bilateral trade: matching and dispatch between pairs of seats."""
