"""Hooks of the documentation site: pages made from the code, and a check of addresses."""

from __future__ import annotations

import logging
import re
from typing import Any

import addresses
import api_pages
import cards
import command_line_page
import configuration_page
import flow_picture
import notebook_pages
import project_pages
from mkdocs.structure.files import File

_LOG = logging.getLogger("mkdocs.hooks")  # whose warnings fail a strict build
_MADE: dict[str, str] = {}  # text of each page that is made, by its path
# Which section of the navigation takes which pages.
_SECTIONS = {
    "Learn": notebook_pages.pages,
    "Environments": cards.pages,
    "Reference": api_pages.pages,
}
# A picture on a line of its own; on a phone its letters are small.
_PICTURE = re.compile(r'<p>(<img [^>]*src="([^"]+)"[^>]*>)</p>')
_PLACED = (command_line_page.pages, configuration_page.pages, project_pages.pages, cards.index)


def on_config(config: Any) -> Any:
    """Make the pages, and enter those of a section that mkdocs.yml cannot name."""
    for section in config.nav:
        ((title, items),) = section.items()
        if title in _SECTIONS:
            entries, texts = _SECTIONS[title]()
            items += entries
            _MADE.update(texts)
    for pages in _PLACED:
        _MADE.update(pages())
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages made to those in docs/."""
    for path, text in _MADE.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to files at the checkout's root lead to their pages, and draw the flow charts."""
    for page, name in project_pages.AT_ROOT.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}")
    return flow_picture.with_pictures(markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Warn of external addresses that are none, and let a picture open in its full size."""
    for address in addresses.malformed(html):
        _LOG.warning("%s: %r is no address", page.file.src_path, address)
    return _PICTURE.sub(r'<p><a href="\2">\1</a></p>', html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Warn of what a page would load from another host."""
    for address in addresses.loaded(output):
        _LOG.warning("%s loads %r, from another host", page.file.src_path, address)
    return output
