"""Picture of a tariff's mean day, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _LEFT, _LOW, _TOP = 600.0, 210.0, 52.0, 28.0, 34.0
_COLOURS = ("#0072B2", "#E69F00", "#009E73")
_DASHES = ("", "7 3", "2 3")


def price_svg(series: Mapping[str, NDArray[np.float32]], currency: str) -> str:
    """Return lines of price over the time of day, with a name for each.

    Args:
        series: [slots of a day] per kWh, by name.
        currency: of the prices.
    """
    top = max(float(values.max()) for values in series.values()) * 1.08
    low = min(0.0, *(float(values.min()) for values in series.values()))

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _LOW) * (top - value) / (top - low)

    parts = []
    for tick in np.linspace(low, top, 5):
        parts.append(
            f'<path d="M{_LEFT} {y(tick):.1f}H{_WIDTH}" stroke="currentColor" '
            'stroke-opacity="0.15"/>'
            f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>'
        )
    for hour in range(0, 25, 4):
        x = _LEFT + (_WIDTH - _LEFT - 12) * hour / 24
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{hour} h</text>')
    at = _LEFT
    for (name, values), colour, dash in zip(series.items(), _COLOURS, _DASHES, strict=True):
        step = (_WIDTH - _LEFT - 12) / len(values)
        path = "".join(
            f"{'L' if i else 'M'}{_LEFT + i * step:.1f} {y(float(v)):.1f}h{step:.2f}"
            for i, v in enumerate(values)
        )
        look = f'fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"'
        parts.append(f'<path d="{path}" {look}/>')
        parts.append(
            f'<path d="M{at} 14h26" {look}/><text x="{at + 32}" y="18">{escape(name)}</text>'
        )
        at += 60 + 8.2 * len(name)
    body = "\n".join(parts)
    return (
        f'<svg class="feeder" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" font-size="14" '
        f'fill="currentColor" aria-label="Prices of the mean day, {escape(currency)}/kWh" '
        f'xmlns="http://www.w3.org/2000/svg">\n{body}\n</svg>\n'
    )
