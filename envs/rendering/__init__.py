"""Pictures of an interval: plain records, and functions that draw them and keep nothing.

`Stage` holds what stands still in a task, `Snapshot` what happened in one interval; `picture.draw`
turns both into a figure. Only the modules that draw import matplotlib, which takes a second.
"""
