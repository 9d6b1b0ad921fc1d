"""Files and folders that are replaced whole, and a claim on a folder that dies with its process."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gridbazaar.errors import BusyError

_AT_FDCWD, _EXCHANGE = -100, 2  # of Linux's renameat2


def write(path: Path, content: str | bytes) -> None:
    """Replace a file whole: whoever reads finds the old content or the new, after a kill too.

    Args:
        path: of the file; a symbolic link stays one, and its target is replaced.
        content: text is written as UTF-8.

    Raises:
        OSError: it cannot be written, and names the file; the old content stands.
    """
    path = real(path)
    partial = hidden(path, "partial")
    try:
        with open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names none
        raise
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def make_ready(path: Path) -> None:
    """Make the folder of a file that takes long to come, and see that it can be written there.

    Raises:
        OSError: it cannot.
    """
    path = real(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    trial = hidden(path, "trial")
    try:
        trial.touch()
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def point(link: Path, name: str) -> None:
    """Let a symbolic link name another path, in one step."""
    fresh = hidden(link, "partial")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    os.replace(fresh, link)


def settle(new: Path, folder: Path) -> None:
    """Move a finished folder into the place of another, which is removed, or into an empty one.

    Args:
        new: the finished folder, on the same file system.
        folder: where it shall be; a kill leaves the old there or the new, whole, or else, where
            the system cannot exchange two folders, what `recover` makes whole.
    """
    _sync_tree(new)
    if not folder.exists():
        os.replace(new, folder)
        _sync(folder.parent)
        return
    old = new
    if not _exchange(new, folder):
        old = hidden(folder, "old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
        os.replace(new, folder)
    _sync(folder.parent)
    shutil.rmtree(old)


def recover(folder: Path) -> None:
    """Put back what a killed process had moved aside, or remove it where the new is in place."""
    old = hidden(folder, "old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove a folder in such a way that a kill leaves no half of it under its name."""
    gone = hidden(folder, "gone")
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(folder, gone)
    shutil.rmtree(gone)


def hidden(path: Path, kind: str) -> Path:
    """Return the hidden name beside a path for what is its `partial`, `old`, `lock`, ..."""
    return path.with_name(f".{path.name}.gridbazaar.{kind}")


def real(path: Path) -> Path:
    """Return what a symbolic link points to, so that the link stays what it is."""
    return path.resolve() if path.is_symlink() else path


def name_by_time(what: str) -> str:
    """Return a name for a folder that was given none: what it holds, and this second."""
    return f"{what}-{datetime.now():%Y%m%d-%H%M%S}"


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Be the only process that writes a folder, until the end of the block or of the process.

    Args:
        folder: need not be there yet; what it lies in is made.

    Raises:
        BusyError: another process has claimed it; names that one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = hidden(folder, "lock")
    path.touch()  # where it cannot be made, FileLock would call it held
    lock = FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{folder} is being written by {_holder(path)}; wait for its end, stop it, or choose "
            "another name"
        ) from None
    try:
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        path.write_text(f"process {os.getpid()} on {platform.node()} since {since}", "utf-8")
        yield
    finally:
        try:
            path.unlink(missing_ok=True)  # while it is held: who waits for it finds it unlinked
        finally:
            lock.release()


def _holder(lock: Path) -> str:
    with suppress(OSError):
        if text := lock.read_text(encoding="utf-8", errors="replace").strip():
            return text
    return "another process"


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; return False where the system or file system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0)


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            _sync(Path(root, name))
        _sync(Path(root))


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
