"""The documentation site: cards, options and addresses are whole; `make docs` builds it."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gridbazaar.config import Config
from gridbazaar.configs import option, options
from gridbazaar.envs.spaces import spaces_of

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tools" / "docs_site"
SITE = ROOT / "site"
QUICK = ("small-v1", "own_data-v1")
LONG = [pytest.param(t, marks=pytest.mark.long) for t in options("task") if t not in QUICK]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def part(name):
    return importlib.import_module(name)


@cache
def placed_and_card(task):
    """Return a task as it stands and its page; the fixture has let its module be found."""
    cards = part("cards")
    placed = cards.place(task)
    return placed, cards.card(task, placed)


@cache
def options_page():
    return part("configuration_page").pages()["reference/configuration.md"]


def cells(text, head):
    """Return the rows of the table below a heading, each as its cells."""
    section = text.split(f"## {head}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("task", [*QUICK, *LONG])
def test_a_card_has_every_entry_seat_and_rule(task):
    placed, text = placed_and_card(task)
    groups = spaces_of(placed.simulation)
    seen = {row[0].strip("`"): row for row in cells(text, "Observations")}
    given = {row[0].strip("`"): row for row in cells(text, "Actions")}
    assert set(seen) == {f.name for spaces in groups.values() for f in spaces.features}
    assert set(given) == {e.name for spaces in groups.values() for e in spaces.action_entries}
    for row in (*seen.values(), *given.values()):
        assert row[1], f"{row[0]} has no unit"
        assert re.fullmatch(r"-?[\d.e+-]+ to -?[\d.e+-]+", row[2]), row
        assert row[-1] == "all" or re.fullmatch(r"\d(, \d)*", row[-1]), row
    seats = placed.simulation.community.seats
    assert sum(int(row[1]) for row in cells(text, "Seats and devices")) == len(seats)
    for name in seats:
        assert text.count(f"<title>{name}</title>") == 1, name
    assert {row[0].strip("`") for row in cells(text, "Rules")} >= {"forecast", "limits.action"}
    assert f"- `{task}`: " in text
    assert option("task", task)["tariff"]["name"] in text


def test_a_range_is_that_of_the_space_in_physical_units():
    placed, text = placed_and_card("small-v1")
    rows = {row[0].strip("`"): row for row in cells(text, "Observations")}
    spaces = spaces_of(placed.simulation)["prosumer_pv_storage"]
    for feature, low, high in zip(
        spaces.features, spaces.observation.low, spaces.observation.high, strict=True
    ):
        shown = [float(end) for end in rows[feature.name][2].split(" to ")]
        expected = (float(low) / feature.scale, float(high) / feature.scale)
        assert shown == pytest.approx(expected, rel=6e-3, abs=1.2e-4 / feature.scale)


def test_a_measured_skill_range_is_taken_from_its_page_and_another_says_how():
    cards = part("cards")
    assert "| optimum | 42.80 |" in cards.skill_range("semiurb4-v1")
    assert "--skill-range task=urban6-v1" in cards.skill_range("urban6-v1")


def drawn(lines, trafos=(), fused=(), seats=None):
    picture = part("feeder_picture")
    feeder = picture.Feeder([0], lines, trafos, fused, seats or {}, {0: "<grid & co>"})
    svg = picture.feeder_svg(feeder, {"ev": "red", "consumer": "blue"}, "a feeder")
    return ElementTree.fromstring(svg)


def test_a_feeder_is_drawn_as_the_tree_that_it_is():
    root = drawn([(1, 2), (2, 3), (2, 4), (1, 5)], trafos=[(0, 1)], seats={4: [("ev", "ev_0")]})
    assert len(root.findall(f"{SVG}path")) == 5
    dots = [circle for circle in root.findall(f"{SVG}circle") if circle.get("r") == "2"]
    assert len({(dot.get("cx"), dot.get("cy")) for dot in dots}) == 5
    assert [title.text for title in root.findall(f"{SVG}g/{SVG}title")] == ["ev_0"]
    assert "<grid & co>" in root.find(f"{SVG}rect/{SVG}title").text


def test_a_loop_is_dashed_and_fused_buses_are_one():
    root = drawn([(0, 1), (1, 2), (2, 0)])
    assert sum("stroke-dasharray" in path.attrib for path in root.findall(f"{SVG}path")) == 1
    root = drawn([(0, 1), (2, 3)], fused=[(1, 2)], seats={2: [("consumer", "consumer_0")]})
    assert len(root.findall(f"{SVG}path")) == 2
    assert len(root.findall(f"{SVG}g")) == 1


def models(kind=Config) -> Iterator[type[Config]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("gridbazaar."):
            yield below
        yield from models(below)


def test_every_option_has_a_meaning_and_every_quantity_a_unit():
    page = part("configuration_page")
    text = options_page()
    missing = []
    for model in dict.fromkeys(models()):
        if model.__qualname__ == "Devices":
            continue  # built anew whenever a task is read, from the models of its kinds
        for name, field in model.model_fields.items():
            if not field.description:
                missing.append(f"{model.__qualname__}.{name}: no description")
            elif page.is_quantity(field) and page.unit_of(model, name) is None:
                missing.append(f"{model.__qualname__}.{name}: no unit")
    assert not missing
    headings = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert len(headings) == len(set(headings))


def test_the_page_of_options_has_the_defaults_and_remarks_of_the_files():
    text = options_page()
    for group in ("market", "layer", "incentive", "bidder", "algorithm", "devices"):
        for name in options(group):
            assert f"### {group} {name}\n" in text, f"{group} {name}"
    rules = text.split("### task.rules\n")[1].split("###")[0]
    assert re.search(r"\| `max_tip` \| number ≥ 0 \| `0.01` \| EUR \|.*assumed", rules)
    assert "| `persistence` |" in rules


def test_remarks_are_read_with_the_key_that_they_stand_behind():
    comments = part("configuration_page").comments
    assert comments("a: 1 # one\nb:\n  c: 2 # two\n  d: 3\ne: x#y\n") == {"a": "one", "b.c": "two"}


def test_a_notebook_becomes_a_page(tmp_path, monkeypatch):
    pages = part("notebook_pages")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    path = tmp_path / "first.py"
    head = "# ---\n# x: 1\n# ---\n\n"
    path.write_text(f"{head}# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\na = 1\n")
    text = pages.as_markdown(path)
    assert text.startswith("# Title\n\nText.\n\n")
    assert "```python\na = 1\n```" in text
    assert "x: 1" not in text


def test_addresses_without_a_host_are_found():
    malformed = part("addresses").malformed
    assert not malformed('<a href="https://doi.org/10.3390/en13123290">a</a><a href="x.html">b</a>')
    for wrong in ("https://", "http://localhost page/", "https:///x", "https://nohost/x"):
        assert malformed(f'<a href="{wrong}">a</a>') == [wrong]


def test_the_table_of_the_readme_is_part_of_the_results():
    def rows(name):
        return [line for line in (ROOT / name).read_text().splitlines() if line.startswith("|")]

    readme = [line for line in rows("README.md") if re.search(r"\| [\d.]+ % \|", line)]
    assert len(readme) >= 5
    assert set(readme) <= set(rows("docs/results.md"))


def test_pages_that_are_made_hide_no_file():
    made = {*part("command_line_page").pages(), *part("project_pages").pages()}
    made |= {*part("cards").index(), *part("api_pages").pages()[1]}
    assert {"reference/command_line.md", "environments/index.md"} <= made
    assert not [page for page in made if (ROOT / "docs" / page).exists()]


FLOW = 'flowchart TB\n    a["sun & <br/>rain"] -- "word" --> c["end"]\n    b --> c --> d --> a\n'


def test_a_flow_chart_is_drawn_with_its_boxes_and_arrows():
    pictures = part("flow_picture")
    chart = pictures.read(FLOW)
    assert chart.boxes == {"a": ["sun & ", "rain"], "c": ["end"], "b": ["b"], "d": ["d"]}
    assert [tuple(arrow) for arrow in chart.arrows] == [
        ("a", "c", "word"),
        ("b", "c", ""),
        ("c", "d", ""),
        ("d", "a", ""),
    ]
    root = ElementTree.fromstring(pictures.flow_svg(chart))
    boxes = [{k: float(v) for k, v in box.attrib.items()} for box in root.findall(f"{SVG}rect")]
    a, b, c, d = (box["y"] for box in boxes)
    assert a == b < c < d
    width, height = map(float, root.get("viewBox").split()[2:])
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= height for box in boxes)
    texts = [text.text for text in root.findall(f"{SVG}text")]
    assert sorted(texts) == sorted(["word", "sun &", "rain", "end", "b", "d"])


@pytest.mark.parametrize("text", ["flowchart LR\na --> b\n", "flowchart TB\na -.-> b\n"])
def test_what_the_drawing_cannot_hold_is_named(text):
    with pytest.raises(ValueError, match=r"a drawing (begins with|has the line)"):
        part("flow_picture").read(text)


def test_every_flow_chart_of_the_documentation_is_drawn():
    pictures = part("flow_picture")
    found = 0
    for path in (ROOT / "docs").glob("*.md"):
        text = path.read_text()
        shown = pictures.with_pictures(text)
        assert "```mermaid" not in shown
        found += shown.count('<svg class="flow"') == text.count("```mermaid") > 0
    assert found == 2


def test_what_a_page_loads_from_elsewhere_is_found():
    loaded = part("addresses").loaded
    for own in (
        '<a href="https://x.org/a.png">a</a><link rel="canonical" href="https://x.org/">',
        '<script src="assets/a.js"></script><img src=images/a.png>',
        "<script>var x = 'https://x.org'</script>",
        "body { background: url(images/a.png) }",
    ):
        assert not loaded(own), own
    for other in (
        '<script src="https://x.org/a.js"></script>',
        "<link href=//x.org/a.css rel=stylesheet>",
        '<img alt="a" src="http://x.org/a.png">',
        "@font-face { src: url('https://x.org/a.woff2') }",
        '@import "https://x.org/a.css";',
        '<pre class="mermaid">',
    ):
        assert loaded(other), other


@pytest.mark.long
def test_no_page_of_the_site_loads_anything_from_another_host():
    if not (SITE / "index.html").is_file():
        pytest.skip("no site: make docs builds it")
    pages = [path for end in ("html", "css") for path in SITE.rglob(f"*.{end}")]
    assert len(pages) > 100
    loaded = part("addresses").loaded
    assert {str(path): found for path in pages if (found := loaded(path.read_text()))} == {}
