"""Faults of a disk on demand: a process that dies, or a disk that refuses, at one operation."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import get_ident
from typing import Any

_CREATE = ("open", "os.mkdir", "os.symlink", "fsync")
_CHANGE = (*_CREATE, "os.rename", "os.remove", "os.rmdir", "ctypes.dlsym")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Killed(BaseException):
    """The process is dead; whatever it still tries to do to a file raises this again."""


class Disk:
    """Counts what a process does to the files below a folder, and fails from one operation on.

    `ctypes.dlsym` is counted in place of the system call that exchanges two folders, which Python
    does not announce.

    Args:
        root: the folder.
        last: operations that succeed.
        fault: None: the process (here: this thread) is killed, and what was written but not synced
            is torn: half of it is there. Else the error number of a disk that is full or read-only.
    """

    def __init__(self, root: Path, last: int, fault: int | None = None):
        self.root, self.last, self.fault, self.done = os.path.realpath(root), last, fault, 0
        self._unsynced: set[str] = set()
        self._thread = get_ident()

    @property
    def failed(self) -> bool:
        return self.done > self.last

    def see(self, event: str, args: tuple[Any, ...]) -> None:
        """Count an operation, or let it fail."""
        if not self._concerned(event, args):
            return
        if self.fault != errno.ENOSPC or event in _CREATE:
            self.done += 1
            if self.failed:
                raise Killed if self.fault is None else OSError(self.fault, os.strerror(self.fault))
        if event == "open":
            self._unsynced.add(os.path.realpath(os.fsdecode(args[0])))
        elif event == "fsync":
            self._unsynced.discard(args[0])
        elif event == "os.rename":
            old, new = (os.path.realpath(path) for path in args[:2])
            self._unsynced = {
                new + path.removeprefix(old) if path.startswith(old) else path
                for path in self._unsynced
            }

    def _concerned(self, event: str, args: tuple[Any, ...]) -> bool:
        if event not in _CHANGE or (self.fault is None and get_ident() != self._thread):
            return False
        if event == "ctypes.dlsym":
            return "renameat2" in args
        if event == "open" and not args[2] & _WRITING:
            return False
        if event in ("os.remove", "os.rmdir", "os.mkdir") and args[-1] not in (-1, None):
            return True  # relative to an open folder, as `shutil.rmtree` does it
        place = args[1] if event == "os.symlink" else args[0]
        return not isinstance(place, int) and os.path.abspath(os.fsdecode(place)).startswith(
            self.root
        )

    def tear(self) -> None:
        """Leave half of what was not synced."""
        for path in filter(os.path.isfile, self._unsynced):
            os.truncate(path, os.path.getsize(path) // 2)


_disk: Disk | None = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _disk is not None:
        _disk.see(event, args)


sys.addaudithook(_hook)  # stays until the end of the process; does nothing outside of `faulty`


@contextmanager
def faulty(root: Path, last: int, fault: int | None = None) -> Iterator[Disk]:
    """Let the disk fail within the block; a kill ends the block without an error."""
    global _disk
    real, disk = os.fsync, Disk(root, last, fault)

    def fsync(number: int) -> None:
        disk.see("fsync", (os.readlink(f"/proc/self/fd/{number}"),))
        real(number)

    _disk, os.fsync = disk, fsync
    try:
        yield disk
    except Killed:
        pass
    finally:
        _disk, os.fsync = None, real
    if disk.failed and fault is None:
        disk.tear()


def at_every_operation(
    folder: Path,
    begin: Callable[[Path], None],
    work: Callable[[Path], None],
    check: Callable[[Path, bool], None],
    fault: int | None = None,
) -> int:
    """Do the same work again and again, each time with a fault one operation later.

    Args:
        folder: an empty one.
        begin: fills a new folder.
        work: done in it until the fault; an OSError may come out of it where that was the fault.
        check: holds for what is there then; is told whether the work was done.
        fault: as for `Disk`.

    Returns:
        how many operations the work takes.
    """
    for last in count():
        root = folder / f"{last}"
        root.mkdir()
        begin(root)
        done = False
        with faulty(root, last, fault) as disk:
            try:
                work(root)
                done = True
            except OSError as error:
                if error.errno != fault:
                    raise
        check(root, done)
        if not disk.failed:
            assert done
            return last
    raise AssertionError
