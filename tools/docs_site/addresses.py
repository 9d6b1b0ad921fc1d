"""Form of external addresses; whether anybody answers there is not asked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?")


def malformed(html: str) -> list[str]:
    """Return the external addresses of a page that cannot be any: no host, or a space in them."""
    found = re.findall(r'href="(https?:[^"]*)"', html)
    return [a for a in found if " " in a or not _HOST.fullmatch(urlsplit(a).netloc)]
