"""SHA-256 digests of a checkpoint's files, listed as `sha256sum --check` reads them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from gridbazaar import files
from gridbazaar.errors import CheckpointError

LIST = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\n]+)")


def write(folder: Path) -> None:
    """List the digests of all files that lie in a folder."""
    listed = sorted(path for path in folder.iterdir() if path.name != LIST)
    files.write(folder / LIST, "".join(f"{_digest(path)}  {path.name}\n" for path in listed))


def check(folder: Path, *names: str) -> None:
    """Hold files against their digests, every listed one where none is named.

    Raises:
        CheckpointError: a file is missing or not what was written; names it.
    """
    listed = _read(folder / LIST)
    for name in names or listed:
        digest = listed.get(name, "none")
        path = folder / name
        try:
            found = _digest(path)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror}); {_MEND}") from None
        if found != digest:
            raise CheckpointError(
                f"{path} is not what was written: its SHA-256 is {found[:12]}..., {LIST} has "
                f"{digest[:12]}...; {_MEND}"
            )


_MEND = "the checkpoint is damaged; remove its folder to continue from the one before"


def _read(path: Path) -> dict[str, str]:
    """Return the digests by file name."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise CheckpointError(
            f"cannot read the networks: {path} is missing or no text; {_MEND}"
        ) from None
    lines = [_LINE.fullmatch(line) for line in text.removesuffix("\n").split("\n")]
    if not text.endswith("\n") or not all(lines):
        raise CheckpointError(f"{path} is not as it was written; {_MEND}")
    return {line[2]: line[1] for line in lines if line}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
