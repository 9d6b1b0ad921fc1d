"""Files and folders that are replaced whole, whatever happens in between."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faults import at_every_operation

from gridbazaar import files
from gridbazaar.errors import BusyError

FAULTS = (None, errno.ENOSPC, errno.EROFS)
OLD, NEW = {"a": "old", "b": "old"}, {"a": "new", "c": "new"}


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(folder, texts):
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_holds_the_old_content_or_the_new_after_every_fault(fault, tmp_path):
    def check(root, done):
        assert (root / "f").read_text() == "new" or (not done and (root / "f").read_text() == "old")
        files.write(root / "f", "newer")
        assert [path.name for path in root.iterdir()] == ["f"]

    operations = at_every_operation(
        tmp_path,
        lambda root: (root / "f").write_text("old"),
        lambda root: files.write(root / "f", "new"),
        check,
        fault,
    )
    assert operations >= (2 if fault == errno.ENOSPC else 4)  # open, sync, rename, sync


@pytest.mark.parametrize("exchange", [True, False], ids=["exchanged", "in two steps"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_is_the_old_one_or_the_new_after_every_fault(
    fault, exchange, tmp_path, monkeypatch
):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)

    def begin(root):
        fill(root / "demo", OLD)
        fill(root / "new", NEW)

    def check(root, done):
        if not exchange:
            files.recover(root / "demo")
        assert content(root / "demo") in ([NEW] if done else [OLD, NEW])
        if not done:
            shutil.rmtree(root / "new", ignore_errors=True)
            fill(root / "new", NEW)
            files.settle(root / "new", root / "demo")
        assert [path.name for path in root.iterdir()] == ["demo"]
        assert content(root / "demo") == NEW

    def work(root):
        files.settle(root / "new", root / "demo")

    assert at_every_operation(tmp_path, begin, work, check, fault) >= 4


def test_a_removed_folder_is_whole_or_gone_after_every_kill(tmp_path):
    def check(root, done):
        assert not done or not (root / "demo").exists()
        if (root / "demo").exists():
            assert content(root / "demo") == OLD
            files.discard(root / "demo")
        assert not (root / "demo").exists()

    at_every_operation(
        tmp_path,
        lambda root: fill(root / "demo", OLD),
        lambda root: files.discard(root / "demo"),
        check,
    )


def test_a_link_names_the_old_place_or_the_new_after_every_kill(tmp_path):
    def check(root, done):
        assert os.readlink(root / "best") in (["new"] if done else ["old", "new"])
        files.point(root / "best", "newer")
        assert os.readlink(root / "best") == "newer"

    at_every_operation(
        tmp_path,
        lambda root: (root / "best").symlink_to("old"),
        lambda root: files.point(root / "best", "new"),
        check,
    )


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "there").write_text("old")
    (tmp_path / "here").symlink_to("there")
    files.write(tmp_path / "here", "new")
    assert (tmp_path / "here").is_symlink()
    assert (tmp_path / "there").read_text() == "new"


def test_a_full_disk_is_named_with_the_file(tmp_path):
    (tmp_path / ".f.gridbazaar.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        files.write(tmp_path / "f", "text")
    assert caught.value.filename == str(tmp_path / "f")
    assert not list(tmp_path.iterdir())


def claiming(folder):
    """A process that claims a folder, says so and sleeps."""
    script = (
        "import sys, time, pathlib; from gridbazaar import files\n"
        "with files.claim(pathlib.Path(sys.argv[1])):\n"
        "    print('claimed', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"claimed\n"
    return process


def test_a_claim_that_cannot_be_made_is_not_called_held(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), files.claim(tmp_path / "file" / "results"):
        pass
    with pytest.raises(OSError, match="proc"), files.claim(Path("/proc/results")):
        pass


def test_a_claim_names_its_process_and_dies_with_it(tmp_path):
    folder = tmp_path / "runs" / "demo"
    with claiming(folder) as process:
        with pytest.raises(BusyError, match=re.escape(str(folder))) as caught, files.claim(folder):
            pass
        assert f"process {process.pid} on " in str(caught.value)
        assert "\n" not in str(caught.value)
        process.send_signal(signal.SIGKILL)
    with files.claim(folder):
        assert f"process {os.getpid()} on " in files.hidden(folder, "lock").read_text()
    assert not list(folder.parent.iterdir())


def test_a_claim_is_its_folders_alone_and_holds_against_the_same_process(tmp_path):
    with files.claim(tmp_path / "one"), files.claim(tmp_path / "other"):
        with (
            pytest.raises(BusyError, match=f"process {os.getpid()}"),
            files.claim(tmp_path / "one"),
        ):
            pass
        assert files.hidden(tmp_path / "one", "lock").exists()
