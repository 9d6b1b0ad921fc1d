"""Report and day in a real browser: nothing is reported, all is drawn, on a phone and a desk."""

import json
import os
import shutil
import threading

import pandas as pd
import pytest

from gridbazaar.evaluation import view
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.example_days import ExampleDays
from gridbazaar.evaluation.report import render
from gridbazaar.evaluation.report_data import collect
from gridbazaar.evaluation.results import evaluate
from gridbazaar.evaluation.timing import timed

pytestmark = pytest.mark.long
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
FIGURES = {
    "compare",
    "waterfall",
    "seeds",
    "profile",
    "validation",
    "deviations",
    "daily",
    "day",
    "roles",
    "voltages",
    "learning",
}
DAY = {"feeder", "seat", "book", "prices", "ledger"}
PATIENCE = 120_000  # ms; a busy machine
# The texts that are smaller than 11 px, those of figures among them.
SMALL = """() => {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue;
    const size = parseFloat(getComputedStyle(element).fontSize);
    if (size < 11) found.push([element.tagName, size, walker.currentNode.textContent]);
  }
  return found;
}"""
# What reaches beyond the page's right edge, though the page itself does not scroll.
BEYOND = """() => [...document.querySelectorAll("body *")].filter((element) => {
  const box = element.getBoundingClientRect();
  return box.width && !element.closest("svg, script, .modebar") && box.right > innerWidth + 1;
}).map((element) => element.tagName + "." + element.className)"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[dev]'")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if program is None:
        pytest.skip("no Chromium: sudo apt install chromium, or CHROMIUM=/path/to/it")
    with playwright.sync_playwright() as started:
        # As root, as in CI, Chromium has no sandbox; the pages are our own.
        found = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = [
        "name=tiny",
        f"folder={tmp_path_factory.mktemp('results')}",
        "bidder=[learned,truthful]",
        "market=[uniform_auction,vcg]",
        "ledger=[ideal,block]",
        "days=3",
        "resamples=100",
        "signed_days=1",
        "planner=false",
    ]
    return evaluate(configure(words), quiet=True)


@pytest.fixture(scope="module")
def whole(folder):
    """A report in which every figure has something to draw."""
    summary, times = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("summary", "timing")
    )
    shown = timed(summary, times)
    gain = {"mean": 0.1, "iqm": 0.1, "low": 0.05, "high": 0.2, "percent": 3.0, "tried": 9}
    gain |= {"who": "ev_0", "response": "bids less", "chosen_on": 4, "judged_on": 7}
    for row in shown["rows"]:
        if row["bidder"] == "learned":
            row["deviations"] = {"exploitability": gain, "coalition_gain": gain | {"who": None}}
            row["seeds"], row["score"]["by_seed"] = ["0", "1", "2"], [0.7, 0.72, 0.75]
    columns = ("train", "validation")
    curve = pd.DataFrame({f"{name}_community_cost_eur_per_day": [50.0, 45.0] for name in columns})
    curve = curve.assign(agent_steps=[1e6, 2e6], low=[44.0, 43.0], high=[52.0, 47.0], seeds=[3, 3])
    episodes = pd.read_parquet(folder / "episodes.parquet")
    data = collect(shown, episodes, ExampleDays(folder), {"learned": curve})
    path = folder.parent / "whole.html"
    path.write_text(render(shown, data, "3 days."))
    return path


class Opened:
    """A page, what it reported, and what it asked for."""

    def __init__(self, browser, url, width, scheme):
        self.context = browser.new_context(
            viewport={"width": width, "height": 850}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector("html[data-drawn]")

    def figures(self):
        """Return the width of each figure that is drawn, with marks or lines in it."""
        script = """() => Object.fromEntries([...document.querySelectorAll(".plot")]
          .filter((plot) => plot.querySelector(".scatterlayer .trace path, .barlayer .trace path"))
          .map((plot) => [plot.id.slice(4), plot.querySelector("svg").clientWidth]))"""
        return self.page.evaluate(script)


@pytest.fixture
def opened(browser):
    pages = []

    def opening(url, width=1280, scheme="light"):
        pages.append(Opened(browser, url, width, scheme))
        return pages[-1]

    yield opening
    for page in pages:
        page.context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_is_whole_at_every_width_in_both_themes(opened, whole, width, scheme):
    found = opened(whole.as_uri(), width, scheme)
    assert found.said == []
    assert [url for url in found.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    figures = found.figures()
    assert figures.keys() == FIGURES
    assert all(0.85 * min(width, 1180) - 60 < size <= width for size in figures.values())
    dark = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark != "rgb(255, 255, 255)") == (scheme == "dark")
    found.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.page.evaluate(SMALL) == []
    if width < 640:
        assert found.page.evaluate(BEYOND) == []


def test_a_report_as_written_draws_what_it_has(opened, folder):
    found = opened((folder / "report.html").as_uri(), 390)
    assert found.said == []
    assert found.figures().keys() == FIGURES - {"seeds", "deviations", "learning"}
    hidden = found.page.evaluate("document.querySelector('#fig-seeds').closest('figure').hidden")
    assert hidden


def test_every_choice_draws_again(opened, whole):
    found = opened(whole.as_uri(), 1280)
    page = found.page
    count = page.evaluate("""async () => {
      let count = 0;
      for (const select of document.querySelectorAll(".controls select")) {
        for (const option of [...select.options].slice(0, 60)) {
          select.value = option.value;
          select.dispatchEvent(new Event("change"));
          await new Promise((done) => setTimeout(done, 0));
          count += 1;
        }
      }
      return count;
    }""")
    assert count > 100
    assert found.said == []
    assert found.figures().keys() == FIGURES
    page.click("#theme")
    page.click("#theme")
    dark = "rgb(20, 24, 29)"
    page.wait_for_function(f"getComputedStyle(document.body).backgroundColor === '{dark}'")


def test_a_difference_is_drawn_from_the_reference_in_its_own_market_and_ledger(opened, whole):
    page = opened(whole.as_uri(), 1280).page
    page.select_option("[data-for=compare] select[name=show]", "more")
    page.wait_for_timeout(500)
    titles = page.evaluate("""() => {
      const plot = document.getElementById("fig-compare");
      return plot.data.map((trace) => [trace.name, trace.x]);
    }""")
    shown = json.loads((whole.parent / "tiny" / "summary.json").read_text())["rows"]
    for ledger, means in titles:
        wanted = [
            row["difference"]["kpis"]["community_cost"]["mean"]
            for row in shown
            if row["difference"] and (row["market"], row["ledger"]) == ("uniform_auction", ledger)
        ]
        assert sorted(means) == pytest.approx(sorted(wanted), rel=1e-3)


def test_on_paper_it_is_light_and_whole(opened, whole):
    found = opened(whole.as_uri(), 1280, "dark")
    paper = found.page.pdf(format="A4", print_background=True)
    assert paper.startswith(b"%PDF")
    assert len(paper) > 100_000
    found.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    found.page.wait_for_function("document.querySelector('#fig-learning svg').clientWidth === 690")
    light = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light == "rgb(255, 255, 255)"
    assert found.said == []


@pytest.fixture(scope="module")
def address(folder):
    with view.server(folder) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield view.address(serving)
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_day_is_stepped_through(opened, address, width):
    found = opened(address, width)
    found.page.click("text=Step through a day")
    page = found.page
    page.wait_for_selector("html[data-drawn] #clock")
    assert page.url == f"{address}day"
    assert found.figures().keys() == DAY
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SMALL) == []
    before = page.inner_text("#clock"), page.inner_text("#now")
    page.click("#on")
    page.wait_for_function(f"document.getElementById('clock').textContent !== '{before[0]}'")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"document.getElementById('clock').textContent === '{before[0]}'")
    assert page.inner_text("#now") == before[1]
    page.select_option("[data-for=step] select[name=of]", index=1)
    page.select_option("[data-for=seat] select", "3")
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.said == []
