"""YAML configurations: which options there are, and how words compose them into one mapping."""

from gridbazaar.configs.composition import complete_ledger, compose, compose_file, option
from gridbazaar.configs.option_help import option_help
from gridbazaar.configs.presets import descriptions, expand
from gridbazaar.configs.search_path import (
    FOLDER,
    add_folder,
    bringing_words,
    folders,
    groups,
    options,
    path_of,
    shipped,
    take_words,
)

__all__ = [
    "FOLDER",
    "add_folder",
    "bringing_words",
    "complete_ledger",
    "compose",
    "compose_file",
    "descriptions",
    "expand",
    "folders",
    "groups",
    "option",
    "option_help",
    "options",
    "path_of",
    "shipped",
    "take_words",
]
