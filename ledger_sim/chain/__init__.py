"""Blocks in time: queue, room, faults and energy of a chain under any consensus."""
