"""Folders of YAML: the project's own, those of plug-ins, and those that a caller adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gridbazaar import plugins
from gridbazaar.errors import ConfigError, UnknownNameError

FOLDER = Path(__file__).parent
_added: list[Path] = []


def add_folder(path: Path | str) -> None:
    """Let groups have options in a folder of the caller's own: <path>/market/mine.yaml, ...

    Raises:
        ConfigError: there is no such folder, or it holds an option that exists already.
    """
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; it should hold market/, task/, ...")
    if folder in folders():
        return
    _added.append(folder)
    try:
        _index()
    except ConfigError:
        _added.remove(folder)
        raise


def folders() -> list[Path]:
    """Return all folders, the project's own first."""
    return list(dict.fromkeys([FOLDER, *plugins.folders(), *_added]))


def groups() -> list[str]:
    """Return the configuration groups: task, market, ledger, ..."""
    return sorted(_index())


def options(group: str) -> list[str]:
    """Return the names that a group offers; parts of others begin with an underscore."""
    return sorted(_index().get(group, {}))


def shipped(group: str) -> list[str]:
    """Return the names that the project itself offers, without asking any plug-in."""
    paths = sorted((FOLDER / group).glob("*.yaml"))
    return [path.stem for path in paths if not path.stem.startswith("_")]


def path_of(group: str, name: str) -> Path:
    """Return the file of an option; raises UnknownNameError with the nearest name."""
    known = _index().get(group, {})
    if name not in known:
        raise UnknownNameError(group, name, known)
    return known[name]


def take_words(words: Sequence[str]) -> list[str]:
    """Obey the words of a command line that bring plug-ins; return the others.

    `--import my_module` imports a module that registers something; `--config-dir my_yaml` adds a
    folder, see `add_folder`. Both may stand more than once.

    Raises:
        ConfigError: the value is missing, or as `add_folder`.
        PluginError: the module cannot be imported.
    """
    bringing, others = _parted(words)
    for word, value in bringing:
        if not value:
            raise ConfigError(f"{word} needs a value, as in {word} my_bazaar")
        _BRING[word](value)
    return others


def bringing_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line that `take_words` obeys, a word and its value in one."""
    return [f"{word}={value}" for word, value in _parted(words)[0]]


_BRING: Mapping[str, Callable[[str], object]] = {
    "--config-dir": add_folder,
    "--import": plugins.use,
}


def _parted(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the words that bring plug-ins with their values, and the others."""
    bringing, others, remaining = [], [], list(words)
    while remaining:
        word, equals, value = remaining.pop(0).partition("=")
        if word not in _BRING:
            others.append(word + equals + value)
            continue
        if not equals and remaining:
            value = remaining.pop(0)
        bringing.append((word, value))
    return bringing, others


def _index() -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    for folder in folders():
        for path in sorted(folder.glob("*/*.yaml")):
            named = found.setdefault(path.parent.name, {})
            if path.stem.startswith("_"):
                continue
            if path.stem in named:
                raise ConfigError(
                    f"{path}: {path.parent.name} {path.stem!r} stands in {named[path.stem].parent} "
                    "already; choose another name"
                )
            named[path.stem] = path
    return found
