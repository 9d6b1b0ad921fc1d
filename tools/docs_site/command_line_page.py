"""Page of the command line: what each command says of itself."""

from __future__ import annotations

import contextlib
import io

from gridbazaar import command_line

_INTRODUCTION = """\
# Command line

After `pip install` the command is `gridbazaar`; in a checkout `python train.py` is
`gridbazaar train`, and `python evaluate.py` is `gridbazaar evaluate`. Every option stands in the
[configuration reference](configuration.md).

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | the world failed (no optimum, a full disk, another process at work), or this project |
| 2 | wrong input, said in one line with the mend |
| 130 | Ctrl-C |
"""


def pages() -> dict[str, str]:
    """Return the page's text by path."""
    parts = [_INTRODUCTION, f"## `gridbazaar`\n\n```text\n{_said('--help')}```\n"]
    for name in command_line.COMMANDS:
        parts.append(f"## `gridbazaar {name}`\n\n```text\n{_said(name, '--help')}```\n")
    return {"reference/command_line.md": "\n".join(parts)}


def _said(*words: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        command_line.main(words)
    return printed.getvalue()
