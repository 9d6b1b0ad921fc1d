"""Blocks in time: queue, room, gas and energy of a chain under any consensus."""
