"""Viewer of results: a local server with their report, and a page to step through a day."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from gridbazaar.errors import ConfigError, ResultsError, UnknownNameError
from gridbazaar.evaluation import page
from gridbazaar.evaluation.example_days import ExampleDays
from gridbazaar.evaluation.plots import title_of
from gridbazaar.evaluation.report_data import packed
from gridbazaar.evaluation.summary import strict

HOST = "127.0.0.1"
_SUMMARY, _REPORT = "summary.json", "report.html"
_DAY = re.compile(r"/day/(\d{1,6})/(\d{1,3})\.json")
_HTML, _JSON = "text/html; charset=utf-8", "application/json"


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    status: HTTPStatus
    kind: str
    body: bytes


def view(words: Sequence[str], say: Callable[[str], None] = print) -> None:
    """Serve the results that the words name until Ctrl-C.

    Args:
        words: a folder of results, and `port=8000` where it must not be any free one.
        say: is told the address.

    Raises:
        ConfigError: there is not one folder, or no such port.
        UnknownNameError: the folder holds no results; gives the nearest that does.
        ResultsError: its days cannot be read.
        OSError: the port is taken.
    """
    folder, port = configure(words)
    with server(folder, port) as serving:
        say(f"{folder}: {address(serving)} (Ctrl-C ends it)")
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            return


def configure(words: Sequence[str]) -> tuple[Path, int]:
    """Return folder and port that the words mean, port 0 for any; errors as `view`."""
    ports = [word.removeprefix("port=") for word in words if word.startswith("port=")]
    folders = [word for word in words if not word.startswith("port=")]
    if len(folders) != 1:
        raise ConfigError(
            f"view takes one folder of results, got {len(folders)}; as in view results/demo"
        )
    port = ports[-1] if ports else "0"
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"port={port}: expected a number from 0 (any free one) to 65535")
    folder = Path(folders[0])
    if not (folder / _SUMMARY).is_file() or not (folder / _REPORT).is_file():
        around = sorted(str(path.parent) for path in folder.parent.glob(f"*/{_SUMMARY}"))
        raise UnknownNameError("folder of results", str(folder), around)
    return folder, int(port)


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of a folder of results, bound to this machine alone."""
    return ThreadingHTTPServer((HOST, port), partial(_Handler, Results(folder)))


def address(serving: ThreadingHTTPServer) -> str:
    """Return where a browser finds a server."""
    return f"http://{HOST}:{serving.server_address[1]}/"


class Results:
    """A folder of results, as pages and data by their path.

    Args:
        folder: that an evaluation wrote.

    Raises ResultsError where its days are missing or damaged.
    """

    def __init__(self, folder: Path):
        self._folder, self._days = folder, ExampleDays(folder)
        self._summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))

    def get(self, path: str) -> Answer:
        """Return what lies at a path: `/`, `/day`, `/day/<row>/<day>.json`; else an error."""
        if path in ("/", f"/{_REPORT}"):
            return Answer(HTTPStatus.OK, _HTML, (self._folder / _REPORT).read_bytes())
        if path == "/day":
            return Answer(HTTPStatus.OK, _HTML, self.day_page().encode())
        asked = _DAY.fullmatch(path)
        if asked is not None:
            row, day = map(int, asked.groups())
            if row in self._days.rows and day < len(self._days.index["first_slot"]):
                text = json.dumps(self.day(row, day), allow_nan=False, separators=(",", ":"))
                return Answer(HTTPStatus.OK, _JSON, text.encode())
        return Answer(HTTPStatus.NOT_FOUND, "text/plain", b"There is nothing here.\n")

    def day_page(self) -> str:
        """Return the page to step through a day."""
        summary, index = self._summary, self._days.index
        rows = summary["rows"]
        order = sorted(self._days.rows, key=lambda n: rows[n]["bidder"] not in summary["trained"])
        data = {
            "kpis": summary["kpis"],
            "currency": summary["kpis"]["community_cost"]["unit"].partition("/")[0],
            "rows": [{"number": n, "title": title_of(rows[n])} for n in order],
            "seats": index["seats"],
            "homes": index.get("homes", [""] * len(index["seats"])),  # none in earlier results
            "battery_kwh": index["battery_kwh"],
            "first_slot": index["first_slot"],
            "slot_h": index["slot_h"],
            "band": summary["band"],
            "plan": self._days.plan,
        }
        name = summary["config"]["name"]
        scripts = ("figures.js", "step.js")
        return page.render("day.html.j2", packed(data), scripts, name=name, task=summary["task"])

    def day(self, row: int, day: int) -> dict[str, Any]:
        """Return one day of an outcome, lists [T] or [T, ...]; None for what has no number."""
        found = {name: values[day] for name, values in self._days.of(row).items()}
        plain: dict[str, Any] = strict({name: _plain(value) for name, value in found.items()})
        return plain


def _plain(values: np.ndarray[Any, Any]) -> Any:
    """Return float32 as lists of the decimal numbers that were meant."""
    return np.round(values.astype(np.float64), 5).tolist()


class _Handler(BaseHTTPRequestHandler):
    """Answers GET from the results; says nothing on the terminal."""

    def __init__(self, results: Results, *args: Any):
        self._results = results
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer a request."""
        try:
            answer = self._results.get(self.path.partition("?")[0])
        except (OSError, ResultsError) as error:  # removed meanwhile
            answer = Answer(HTTPStatus.GONE, "text/plain", f"{error}\n".encode())
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
