"""Data of a task: grids, profiles, ownership, sessions, tariffs, calendar, a user's files."""
