"""Wrappers: batches of markets as the environments that other libraries learn in, one file each."""
