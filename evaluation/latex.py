"""LaTeX tables of a comparison, with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.exploited import lines as deviation_lines
from gridbazaar.evaluation.strategies import lines as strategy_lines
from gridbazaar.evaluation.tables import Line, of_bidders, of_markets, of_scores

_SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "—": "---",
    "−": r"\(-\)",
    "±": r"\(\pm\)",
    "×": r"\(\times\)",
    "·": r"\(\cdot\)",
    "†": r"\(\dagger\)",
    "‡": r"\(\ddagger\)",
    "*": r"\(\ast\)",
    "≤": r"\(\leq\)",
    "≥": r"\(\geq\)",
    "μ": r"\(\mu\)",
    "µ": r"\(\mu\)",
    "€": r"\texteuro{}",
}


def latex(summary: Mapping[str, Any]) -> str:
    """Return the tables of `table.md` as LaTeX, each a `table` of its own, as wide as the text.

    Args:
        summary: what summary.json holds, with the times of timing.json.
    """
    rows, days = summary["rows"], summary["days"]
    where = f"{days['count']} days of the {days['split']} split, task {summary['task']}."
    tables: list[tuple[str, Sequence[Line]]] = []
    if mechanisms.several(rows):
        tables.append((f"Markets compared: {where}", of_markets(rows)))
    else:
        tables.append((f"Bidders compared: {where}", of_bidders(summary)))
        scored = of_scores(rows)
        if len(scored) > 1:
            tables.append((f"Scores: {where}", scored))
    more = (("Strategies", strategy_lines(summary)), ("Deviations", deviation_lines(summary)))
    tables += [(f"{name}: {where}", lines) for name, lines in more if lines]
    return "% \\usepackage{booktabs,graphicx}\n" + "\n".join(
        table(lines, caption) for caption, lines in tables
    )


def table(lines: Sequence[Line], caption: str) -> str:
    """Return lines as a `table`, the first as its head; the first column is words, others figures.

    A table wider than the text is made smaller as a whole.
    """
    head, *body = lines
    columns = "l" + "r" * (len(head) - 1)
    parts = [
        r"\begin{table*}",
        r"  \centering\small",
        rf"  \caption{{{escaped(caption)}}}",
        r"  \resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        rf"    {_cells(head)} \\",
        r"    \midrule",
        *(rf"    {_cells(line)} \\" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}}",
        r"\end{table*}",
    ]
    return "\n".join(parts) + "\n"


def _cells(line: Line) -> str:
    return " & ".join(map(escaped, line))


def escaped(text: str) -> str:
    """Return a text as LaTeX prints it."""
    return "".join(_SIGNS.get(sign, sign) for sign in text.replace("`", ""))
