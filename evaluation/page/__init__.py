"""Pages that need no other file: template, style, scripts and data in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

_FOLDER = Path(__file__).parent
# https://github.com/plotly/plotly.js, MIT license; npm's plotly.js-basic-dist-min 4.1.1.
_PLOTLY = "plotly-basic.min.js"


def render(template: str, data: str, scripts: Sequence[str], **values: Any) -> str:
    """Return a page.

    Args:
        template: its file in this folder.
        data: compressed, as report_data.packed gives it; the scripts find it in the page.
        scripts: files in this folder, in the order in which they run, after plotly's.
        values: that the template asks for.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template).render(
        style=_text("page.css"),
        plotly=_text(_PLOTLY),
        scripts=[_text(name) for name in scripts],
        data=data,
        **values,
    )


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
