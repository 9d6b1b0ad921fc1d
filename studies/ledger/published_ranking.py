"""Ranking of the ledgers' figures beside that of a published review.

Cantillo-Luna et al., "Blockchain for distributed energy resources management and integration", IEEE
Access 10, 2022 (doi 10.1109/ACCESS.2022.3184704), Table 2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gridbazaar.studies.ledger.text import Row, rounded
from gridbazaar.studies.ledger.trilemma import Profile

LEDGERS = (
    "proof_of_work",
    "proof_of_stake",
    "delegated_proof_of_stake",
    "proof_of_authority",
    "pbft",
    "proof_of_capacity",
)
# Words by row of the paper's table, in the order of LEDGERS.
PAPER: Mapping[str, tuple[str, ...]] = {
    "energy": ("high", "moderate", "low", "low", "moderate", "moderate"),
    "scalability": ("strong", "strong", "strong", "strong", "weak", "strong"),
    "block creation": ("slow", "fast", "fast", "fast", "fast", "moderate"),
    "decentralisation": ("high", "medium", "medium", "low", "high", "medium"),
    "permission": ("none", "both", "both", "both", "permissioned", "both"),
    "fees": ("yes", "yes", "yes", "yes", "no", "yes"),
}
_LEVELS = {
    "energy": ("low", "moderate", "high"),
    "scalability": ("strong", "weak"),
    "block creation": ("fast", "moderate", "slow"),
}
# Why a figure is out of the paper's order, by row and ledger.
NOTES: Mapping[tuple[str, str], str] = {
    ("energy", "pbft"): "The default is ten household nodes of 2.8 W each, whatever they compute. "
    "With the 50 W that proof_of_authority assumes for a small server it would be 1.4e-03 kWh/tx, "
    "above both that the paper rates low: node_power_w=50.",
    ("fees", "delegated_proof_of_stake"): "The default is EOS, where users stake coins for "
    "processor time and network instead of paying per transaction. A fee is one change away: "
    "fees={rule: fixed, price: 0.001, burned_share: 0}.",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """One cell of the paper's table against ours.

    Attributes:
        row: of the table.
        ledger: column of the table.
        paper: its word.
        ours: our word or figure, with its unit.
        agrees: whether it is the same word, or the figures stand in the same order; None where
            our word is a judgement too, given and not simulated.
        note: why not.
    """

    row: str
    ledger: str
    paper: str
    ours: str
    agrees: bool | None
    note: str


def judge(found: Sequence[Profile]) -> list[Judgement]:
    """Compare profiles, which must hold all `LEDGERS`, with the paper's table, cell by cell."""
    by_name = {one.name: one for one in found}
    chosen = [by_name[name] for name in LEDGERS]
    return [cell for row in PAPER for cell in _row(row, chosen)]


def table(judgements: Sequence[Judgement]) -> list[Row]:
    """Return rows for `HEAD`."""
    return [
        (cell.row, cell.ledger, cell.paper, cell.ours, _ANSWERS[cell.agrees], cell.note)
        for cell in judgements
    ]


_ANSWERS = {True: "yes", False: "no", None: "given"}
HEAD = ("row", "ledger", "paper", "here", "agrees", "note")


def _row(row: str, chosen: Sequence[Profile]) -> list[Judgement]:
    words = dict(zip(LEDGERS, PAPER[row], strict=True))
    if row in _LEVELS:
        value, shown = _FIGURES[row]
        values = {one.name: value(one) for one in chosen}
        wrong = _out_of_order(values, {n: _LEVELS[row].index(word) for n, word in words.items()})
        ours = {name: shown.format(rounded(value, 2)) for name, value in values.items()}
    else:
        ours = {one.name: _WORDS[row](one) for one in chosen}
        wrong = {name for name, word in words.items() if ours[name] != word}
    return [
        Judgement(
            row, name, word, ours[name], None if row in _GIVEN else name not in wrong,
            NOTES.get((row, name), "") if name in wrong else "",
        )
        for name, word in words.items()
    ]  # fmt: skip


def _growth_exponent(one: Profile) -> float:
    """Return p of messages per block ~ n^p between the two largest sizes."""
    (few, before), (many, after) = list(one.sizes.items())[-2:]
    assert before
    assert after
    return math.log(after.messages / before.messages) / math.log(many / few)


_FIGURES: Mapping[str, tuple[Callable[[Profile], float], str]] = {
    "energy": (lambda one: one.result.energy_per_transaction_kwh, "{} kWh/tx"),
    "scalability": (_growth_exponent, "messages ~ n^{}"),
    "block creation": (lambda one: one.interval_s, "every {} s"),
}
_GIVEN = ("decentralisation", "permission")
_WORDS: Mapping[str, Callable[[Profile], str]] = {
    "decentralisation": lambda one: one.decentralisation,
    "permission": lambda one: one.permission,
    "fees": lambda one: "yes" if one.charges else "no",
}


def _out_of_order(values: Mapping[str, float], level: Mapping[str, int]) -> set[str]:
    """Return the fewest, found greedily, without whom lower levels have the lower figures."""
    clashes = {
        frozenset((low, high))
        for low, high in itertools.permutations(values, 2)
        if level[low] < level[high] and values[low] >= values[high]
    }
    wrong: set[str] = set()
    while clashes:
        most = max(sorted(values), key=lambda name: sum(name in pair for pair in clashes))
        wrong.add(most)
        clashes = {pair for pair in clashes if most not in pair}
    return wrong
