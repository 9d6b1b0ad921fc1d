"""Renderer of an environment: a day's snapshots so far, drawn as pixels or in a window."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridbazaar.envs.interval import Interval
from gridbazaar.envs.rendering.snapshot import Photographer, Snapshot
from gridbazaar.envs.rendering.stage import Stage
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ArgumentError, UnknownNameError

HUMAN, PIXELS = "human", "rgb_array"
MODES = (HUMAN, PIXELS)
FPS = 8


class Renderer:
    """Keeps what pictures of a day need, and draws when asked.

    Args:
        simulation: of one market.
        title: what is played, in words.
        mode: `human` or `rgb_array`.

    Raises:
        UnknownNameError: for another mode, with the nearest known one.
        ArgumentError: a window is wanted where there is no display.
    """

    def __init__(self, simulation: Simulation, title: str, mode: str):
        if mode not in MODES:
            raise UnknownNameError("render mode", str(mode), MODES)
        if mode == HUMAN:
            _check_display()
        self._stage, self._take = Stage.of(simulation, title), Photographer(simulation)
        self._mode = mode
        self._seen: list[Snapshot] = []
        self._window: Any = None

    def begin(self) -> None:
        """Forget the day before."""
        self._seen = []

    def add(self, interval: Interval) -> None:
        """Keep the interval that was just played."""
        self._seen.append(self._take(interval))

    def render(self) -> NDArray[np.uint8] | None:
        """Return the picture as pixels, uint8 [560, 800, 3]; None where it goes to a window."""
        # matplotlib takes a second to import: not where nobody draws.
        from gridbazaar.envs.rendering import picture

        if self._mode == PIXELS:
            return picture.frame(self._stage, self._seen)
        import matplotlib.pyplot as plt

        if self._window is None:
            width, height = picture.SIZE
            size = (width / picture.DPI, height / picture.DPI)
            self._window = plt.figure("GridBazaar", figsize=size, dpi=picture.DPI)
        self._window.clear()
        picture.draw(self._window, self._stage, self._seen)
        self._window.canvas.draw_idle()
        self._window.canvas.flush_events()
        return None

    def close(self) -> None:
        """Close the window, where there is one."""
        if self._window is not None:
            import matplotlib.pyplot as plt

            plt.close(self._window)
            self._window = None


def _check_display() -> None:
    """Raise ArgumentError where matplotlib has no window to draw in, unless it was told so."""
    import matplotlib

    if os.environ.get("MPLBACKEND"):
        return
    if matplotlib.get_backend().lower() == "agg":
        raise ArgumentError(
            "render_mode='human' needs a display and a window system that matplotlib knows, such "
            "as Tk or Qt, and finds none here; use render_mode='rgb_array', or write a day with "
            "`gridbazaar render`"
        )
