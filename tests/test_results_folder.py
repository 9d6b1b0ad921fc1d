"""Results folders: what may be replaced, what a kill leaves, and how an evaluation goes on."""

from __future__ import annotations

import errno
import inspect
import json
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from faults import at_every_operation

from gridbazaar import command_line, files
from gridbazaar.agents.load import load
from gridbazaar.errors import BusyError, ResultsError
from gridbazaar.evaluation import kept, results, stage
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.outcome import Combination, Outcome
from gridbazaar.evaluation.results_folder import MARKER

NAMES = ("first", "second")


def words(folder, *others):
    return ["name=demo", f"folder={folder}", "bidder=truthful", "days=1", *others]


@pytest.fixture
def quick(monkeypatch):
    """Evaluations that play nothing: outcomes are kept and written as those of others are."""
    played = []

    def run(config, make, progress, outcomes):
        for name in NAMES:
            if outcomes.get(name, None) is None:
                played.append(name)
                cost = {"community_cost": torch.arange(3.0)}
                outcomes.put(name, Outcome(Combination(name, "grid_only", "ideal"), cost))
        return [outcomes.get(name, None) for name in NAMES]

    def write(folder, config, tournament, curves, chosen):
        files.write(folder / "summary.json", f"{tournament} {config.seed}")
        files.write(folder / "plots" / "cost.png", b"\x00")

    monkeypatch.setattr(results, "run", run)
    monkeypatch.setattr(results, "write", write)
    monkeypatch.setattr(kept, "versions", dict)
    return played


@cache
def configured(*others):
    return configure(words("results", *others))


def evaluate(root, *others):
    config = configured(*others).model_copy(update={"folder": str(root)})
    return results.evaluate(config, quiet=True)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("quick")
class TestWhatMayBeReplaced:
    def test_results_are_replaced_whole_when_told(self, tmp_path):
        evaluate(tmp_path)
        with pytest.raises(ResultsError, match="overwrite=true"):
            evaluate(tmp_path, "seed=1")
        old = content(tmp_path / "demo")
        new = content(evaluate(tmp_path, "overwrite=true", "seed=1"))
        assert old.keys() == new.keys() == {MARKER, "summary.json", "plots/cost.png"}
        assert old["summary.json"] != new["summary.json"]
        assert [path.name for path in tmp_path.iterdir()] == ["demo"]

    def test_a_folder_that_no_evaluation_wrote_stays(self, tmp_path, capsys):
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "thesis.tex").write_text("years of work")
        assert command_line.main(["evaluate", *words(tmp_path, "overwrite=true")]) == 2
        assert "no evaluation wrote it" in capsys.readouterr().err
        assert content(tmp_path) == {"demo/thesis.tex": b"years of work"}

    def test_a_file_stays_where_the_folder_should_be(self, tmp_path):
        (tmp_path / "demo").write_text("years of work")
        with pytest.raises(ResultsError, match="no evaluation wrote it"):
            evaluate(tmp_path, "overwrite=true")
        assert content(tmp_path) == {"demo": b"years of work"}

    @pytest.mark.parametrize("name", ["notes.md", "plots/my.png", "link"])
    def test_what_a_user_put_among_results_stays(self, name, tmp_path):
        mine = evaluate(tmp_path) / name
        if name == "link":
            mine.symlink_to(tmp_path)
        else:
            mine.write_text("mine")
        before = content(tmp_path)
        with pytest.raises(ResultsError, match=re.escape(f"{name}, which no evaluation wrote")):
            evaluate(tmp_path, "overwrite=true")
        assert content(tmp_path) == before

    def test_what_comes_among_old_results_during_an_evaluation_stays(self, tmp_path, monkeypatch):
        mine, write = evaluate(tmp_path) / "notes.md", results.write

        def late(*arguments):
            write(*arguments)
            mine.write_text("mine")

        monkeypatch.setattr(results, "write", late)
        with pytest.raises(ResultsError, match=r"notes\.md") as caught:
            evaluate(tmp_path, "overwrite=true", "seed=1")
        assert "resume=true" in caught.value.__notes__[0]
        assert mine.read_text() == "mine"
        mine.unlink()
        monkeypatch.setattr(results, "write", write)
        found = evaluate(tmp_path, "overwrite=true", "seed=1", "resume=true")
        assert b" 1" in (found / "summary.json").read_bytes()

    def test_a_symbolic_link_stays_one(self, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "results").mkdir()
        evaluate(tmp_path / "elsewhere")
        (tmp_path / "results" / "demo").symlink_to("../elsewhere/demo")
        evaluate(tmp_path / "results", "overwrite=true", "seed=1")
        assert (tmp_path / "results" / "demo").readlink() == Path("../elsewhere/demo")
        assert b" 1" in (tmp_path / "elsewhere" / "demo" / "summary.json").read_bytes()
        assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["demo"]


@pytest.mark.parametrize(
    ("fault", "exchange"),
    [(None, True), (None, False), (errno.ENOSPC, True), (errno.EROFS, True)],
    ids=["killed", "killed, exchange in two steps", "full", "read-only"],
)
def test_results_are_the_old_or_the_new_after_every_fault(
    fault, exchange, tmp_path, quick, monkeypatch
):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    old, new = content(evaluate(tmp_path / "a")), content(evaluate(tmp_path / "b", "seed=1"))

    def begin(root):
        shutil.copytree(tmp_path / "a" / "demo", root / "demo")

    def work(root):
        evaluate(root, "overwrite=true", "seed=1")

    def check(root, done):
        if not exchange:  # whoever comes next puts back what was moved aside
            with pytest.raises(ResultsError, match="overwrite=true"):
                evaluate(root)
        assert content(root / "demo") in ([new] if done else [old, new])
        if not done:
            _finish(root, quick)
        assert content(root / "demo") == new
        assert [path.name for path in root.iterdir()] == ["demo"]

    places = tmp_path / "places"
    places.mkdir()
    assert at_every_operation(places, begin, work, check, fault) > 20


def _finish(root, played):
    """Go on where something is kept, else begin again."""
    workshop = root / ".demo.gridbazaar.partial"
    begun = [path.stem for path in workshop.glob("[!.]*.pt")]
    played.clear()
    if (workshop / "begun.json").exists():
        evaluate(root, "overwrite=true", "seed=1", "resume=true")
        assert played == [name for name in NAMES if name not in begun]
    else:
        with pytest.raises(ResultsError, match="nothing to resume"):
            evaluate(root, "overwrite=true", "seed=1", "resume=true")
        evaluate(root, "overwrite=true", "seed=1")


@pytest.mark.usefixtures("quick")
def test_leftovers_of_a_kill_are_cleaned_and_those_of_a_live_process_are_not(tmp_path):
    left = tmp_path / ".demo.gridbazaar.partial"
    left.mkdir()
    (left / "half").touch()
    with files.claim(tmp_path / "demo"):
        with pytest.raises(BusyError, match="is being written by process"):
            evaluate(tmp_path)
        assert (left / "half").exists()
    evaluate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize(
    ("word", "message"),
    [("seed=2", "config seed=0, now it is 2"), ("bidder=zip", "bidder=")],
)
@pytest.mark.usefixtures("quick")
def test_other_words_do_not_resume(word, message, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results, "write", fail)
    with pytest.raises(OSError, match="No space"):
        evaluate(tmp_path)
    before = content(tmp_path)
    with pytest.raises(ResultsError, match=re.escape(message)):
        evaluate(tmp_path, "resume=true", word)
    assert content(tmp_path) == before


@pytest.mark.usefixtures("quick")
def test_kept_outcomes_are_given_up_for_overwrite_alone(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results, "write", fail)
        with pytest.raises(KeyboardInterrupt):
            evaluate(tmp_path)
    before = content(tmp_path)
    with pytest.raises(ResultsError, match=r"keeps 2 outcomes.*resume=true.*overwrite=true"):
        evaluate(tmp_path)
    assert content(tmp_path) == before
    evaluate(tmp_path, "overwrite=true")
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.usefixtures("quick")
def test_a_damaged_outcome_is_named_and_runs_no_code(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path)
    path = tmp_path / ".demo.gridbazaar.partial" / "first.pt"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ResultsError, match=r"first\.pt cannot be read.*it is played again"):
        evaluate(tmp_path, "resume=true")


@pytest.mark.long
def test_an_evaluation_that_failed_goes_on_to_the_same_bytes(tmp_path, town, monkeypatch):
    """The second bidder fails; signed days are among what is kept."""
    chosen = ("bidder=[truthful,own_use]", "ledger=block", "resamples=100", "signed_days=1")
    names = inspect.signature(stage.build).parameters
    monkeypatch.setattr(
        stage, "build", lambda *given: town.build(**dict(zip(names, given, strict=False)))
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = content(results.evaluate(configure(words(whole, *chosen)), quiet=True))
    played = []

    def failing(name, *others):
        bidder = load(name, *others)

        class Failing:
            def act(self, observation, state):
                if state is None:
                    played.append(name)
                    if len(played) == 3:
                        raise OSError(errno.EIO, "Input/output error")
                action, after = bidder.act(observation, state and state[0])
                return action, (after,)

        return Failing()

    with pytest.raises(OSError, match="Input") as caught:
        results.evaluate(configure(words(parts, *chosen)), failing, quiet=True)
    assert caught.value.__notes__ == ["6 outcomes are kept: resume=true goes on with them"]
    again = configure(words(parts, *chosen, "resume=true"))
    found = content(results.evaluate(again, failing, quiet=True))
    assert played == ["stand_alone", "truthful", "own_use", "own_use"]
    for name in found.keys() - {"timing.json", "report.html", "table.md"}:  # these show times
        same = expected[name].replace(str(whole).encode(), str(parts).encode())
        assert found[name] == same, name
    assert found.keys() == expected.keys()
    assert json.loads(found["summary.json"])["rows"]


def test_a_second_evaluation_of_the_same_name_is_one_line(tmp_path, capsys):
    with files.claim(tmp_path / "demo"):
        assert command_line.main(["evaluate", *words(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "is being written by process" in err
    assert err.count("\n") == 1


def test_a_place_that_cannot_be_written_is_known_before_anything_is_played(tmp_path, quick, capsys):
    (tmp_path / "file").touch()
    assert command_line.main(["evaluate", *words(tmp_path / "file" / "results")]) == 1
    err = capsys.readouterr().err
    assert "move it, or choose another place (folder=, out=)" in err
    assert err.count("\n") == 1
    assert not quick
