"""External addresses: their form, and which of them a page would load by itself."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# Elements that fetch what they name, and links that do not.
_FETCHES = re.compile(r"<(?:script|link|img|iframe|source|video|audio|embed|object)\b[^>]*>")
_NAMES = re.compile(r"\b(?:src|href|srcset|data|poster)=[\"']?((?:https?:)?//[^\"'\s>]+)")
_STYLE = re.compile(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"'\s)]+)")
_ONLY_NAMES = re.compile(r"\brel=[\"']?(?:canonical|alternate|author|license|me)\b")
_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?")


def malformed(html: str) -> list[str]:
    """Return the external addresses of a page that cannot be any: no host, or a space in them."""
    found = re.findall(r'href="(https?:[^"]*)"', html)
    return [a for a in found if " " in a or not _HOST.fullmatch(urlsplit(a).netloc)]


def loaded(text: str) -> list[str]:
    """Return the addresses at other hosts that a page, or a style sheet, loads without a click."""
    parts = [part for part in _FETCHES.findall(text) if not _ONLY_NAMES.search(part)]
    # Material's own script fetches Mermaid where a page has an element of that class.
    drawn = ["unpkg.com/mermaid"] if re.search(r"class=[\"']?mermaid\b", text) else []
    return [a for part in parts for a in _NAMES.findall(part)] + _STYLE.findall(text) + drawn
