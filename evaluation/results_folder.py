"""Folder of results: its marker, what may be replaced, and the place beside it where it is made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from gridbazaar import files
from gridbazaar.errors import ResultsError

# Lists the files that an evaluation wrote; a folder without it is not an evaluation's.
MARKER = ".gridbazaar-results"


def check(folder: Path, overwrite: bool) -> None:
    """See that results may be written in this place.

    Raises:
        ResultsError: there is something that must not be replaced.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise ResultsError(
            f"{folder} exists; choose another name, or replace it with overwrite=true"
        )
    marker = folder / MARKER
    if not marker.is_file():
        raise ResultsError(
            f"{folder} has no {MARKER}, so that no evaluation wrote it, and it is not replaced; "
            "choose another name, or move it away yourself"
        )
    written = {MARKER, *marker.read_text(encoding="utf-8", errors="replace").splitlines()}
    if strange := sorted(set(_files(folder)) - written):
        raise ResultsError(
            f"{folder} holds {strange[0]}, which no evaluation wrote, and is not replaced; "
            "move that file away first"
        )


def go_on(folder: Path, parts: Sequence[str], overwrite: bool) -> None:
    """Make a folder of results that grow, or go on with what is in it.

    Args:
        folder: of the results.
        parts: files and folders in it that are written; `overwrite` removes these alone.
        overwrite: begin anew.

    Raises:
        ResultsError: something is in it, and nothing of it was written here.
    """
    marker = folder / MARKER
    if folder.exists() and not marker.is_file() and (folder.is_file() or any(folder.iterdir())):
        raise ResultsError(
            f"{folder} has no {MARKER}, so that no evaluation wrote it, and nothing is put into "
            "it; choose another name, or move it away yourself"
        )
    if overwrite:
        for part in parts:
            path = folder / part
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    marker.touch()


def workshop(folder: Path) -> Path:
    """Return where results are made before they come into place."""
    return files.hidden(folder, "partial")


def move_into_place(new: Path, folder: Path, overwrite: bool) -> None:
    """Mark new results as finished and put them in the place of the old ones.

    Raises:
        ResultsError: in the meantime something came that must not be replaced.
    """
    files.write(new / MARKER, "".join(f"{name}\n" for name in _files(new) if name != MARKER))
    check(folder, overwrite)
    files.settle(new, folder)


def _files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths)
