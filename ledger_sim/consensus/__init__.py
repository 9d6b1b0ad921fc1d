"""Consensus protocols, one file each, and the forms they share."""
