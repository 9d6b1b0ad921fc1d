"""Pages of the site that stand at the checkout's root: contributing and changes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
AT_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def pages() -> dict[str, str]:
    """Return their text by path, links as seen from docs/."""
    return {
        path: re.sub(r"\]\(docs/", "](", (ROOT / name).read_text(encoding="utf-8"))
        for path, name in AT_ROOT.items()
    }
