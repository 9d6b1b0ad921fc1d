"""Hold-out test of the quorum ledgers: predictions of measurements that set none of their defaults.

    python studies/ledger/holdout.py --write docs/ledger_holdout.md

Each prediction comes from network and protocol alone; the configurations' values that were derived
from one of the measurements are replaced or searched for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

import torch

from gridbazaar import ledger_sim
from gridbazaar.configs import option
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.chain.blockchain import Blockchain
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus
from gridbazaar.sourced import plain
from gridbazaar.studies import places
from gridbazaar.studies.pages import write

METER_TX_PER_S = 10.0  # Quartierstrom's, as a load; what fits is searched for
METER_S, QA_KBIT_S = 0.0025, 1e6  # assumed
QA_TX_PER_S, FABRIC_TX_PER_S = 400.0, 2947.0


@dataclass(frozen=True)
class Prediction:
    """A published measurement and what the model says.

    Attributes:
        system: what was measured.
        figure: which of its figures, with its unit.
        low: least that was measured.
        high: most that was measured.
        predicted: by the model.
    """

    system: str
    figure: str
    low: float
    high: float
    predicted: float

    @property
    def miss(self) -> float:
        """Predicted over the nearer end of what was measured; 1 within."""
        return self.predicted / min(max(self.predicted, self.low), self.high)


@cache
def defaults(name: str) -> dict[str, Any]:
    """Return a configuration's values without their sources."""
    return dict(plain(option("ledger", name)))


def quorum_ledger(name: str, **changes: Any) -> Consensus[ChainConfig]:
    """Return a consensus with changed values; those of `network` are merged."""
    values = defaults(name) | {"background_gas_per_s": 0.0}
    network = values["network"] | changes.get("network", {})
    ledger = ledger_sim.make(values | changes | {"network": network})
    assert isinstance(ledger, Blockchain)
    return ledger.consensus


def largest(fits: Callable[[int], bool], limit: int = 1_000_000) -> int:
    """Return the largest whole number that fits, 0 if 1 does not; what is above does not either."""
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def meters(
    bandwidth_kbit_s: float, block: float, validators: int = 27, signature_s: float = METER_S
) -> bool:
    """Tell whether Quartierstrom's meters agree on a block of so many orders within 30 s."""
    network = {"bandwidth_kbit_s": bandwidth_kbit_s}
    chain = quorum_ledger(
        "tendermint_pilot",
        block_gas=block,
        validators=validators,
        signature_s=signature_s,
        network=network,
    )
    return chain.commit_s <= chain.config.interval_s


def meter_figures(signature_s: float) -> tuple[float, float, float, float]:
    """Return most tx/s on a narrow and a broad link, the knee in validators, the least kbit/s."""
    fits = partial(meters, signature_s=signature_s)
    load = METER_TX_PER_S * 30
    narrow, broad = (largest(partial(fits, width)) / 30 for width in (1e3, 1e4))
    knee = 1 + largest(lambda n: n < 4 or fits(1e3, load, n))
    return narrow, broad, knee, 1 + largest(lambda width: not fits(width, load))


def quartierstrom() -> list[Prediction]:
    """Predict throughput, the knee in validators and the least bandwidth."""
    system = "Quartierstrom, 27 meters on Tendermint"
    narrow, broad, knee, least = meter_figures(METER_S)
    return [
        Prediction(system, "most tx/s, links of 1,000 kbit/s", 10, 10, narrow),
        Prediction(system, "most tx/s, links of 10,000 kbit/s", 10, 10, broad),
        Prediction(system, "validators at which 10 tx/s fail, 1,000 kbit/s", 40, 40, knee),
        Prediction(system, "least kbit/s for 10 tx/s", 1000, 1000, least),
    ]


def cometbft_interval_s(tx_per_s: float, latency_s: float, bandwidth_kbit_s: float) -> float:
    """Return s between blocks that hold what came since the last one; inf beyond what fits."""
    interval_s = timeout_commit_s = 1.0
    for _ in range(200):
        chain = quorum_ledger(
            "tendermint",
            block_gas=max(tx_per_s * interval_s, 1.0),
            network={"latency_s": latency_s, "bandwidth_kbit_s": bandwidth_kbit_s},
        )
        longer_s = timeout_commit_s + chain.commit_s
        if abs(longer_s - interval_s) < 1e-6 * interval_s:
            return longer_s
        interval_s = longer_s
        if interval_s > 600:
            break
    return float("inf")


def cometbft_figures(bandwidth_kbit_s: float) -> tuple[float, float, float]:
    """Return blocks/min at the load near by and far apart, and most tx/s near by."""

    def fits(tx_per_s: int) -> bool:
        return cometbft_interval_s(tx_per_s, 0.001, bandwidth_kbit_s) < 60

    near, far = (60 / cometbft_interval_s(QA_TX_PER_S, d, bandwidth_kbit_s) for d in (0.001, 0.075))
    return near, far, largest(fits, 10_000)


def cometbft() -> list[Prediction]:
    """Predict blocks per minute near by and far apart, and the load that is too much."""
    system = "CometBFT QA, 175 validators, 1,024 B"
    near, far, most = cometbft_figures(QA_KBIT_S)
    return [
        Prediction(system, "blocks/min at 400 tx/s, one data centre", 20, 40, near),
        Prediction(system, "blocks/min at 400 tx/s, emulated WAN", 10, 10, far),
        Prediction(system, "most tx/s, one data centre", 400, 400, most),
    ]


def fabric() -> list[Prediction]:
    """Predict the latency of one orderer under load."""
    values = defaults("raft")
    network = values["network"] | {"submission_delay_s": 0.0}
    ledger = ledger_sim.make(
        values | {"validators": 1, "background_gas_per_s": FABRIC_TX_PER_S, "network": network}
    )
    ledger.reset(torch.arange(4096))
    draw = torch.Generator().manual_seed(0)
    at_s = 800 * torch.rand(4096, 20, generator=draw, dtype=torch.float64)
    receipts = ledger.step(
        Transactions(torch.ones_like(at_s, dtype=torch.bool), at_s, torch.zeros_like(at_s)), 870.0
    )
    latency_s = float(receipts.latency_s.mean())
    return [
        Prediction("Fabric 2.5, one Raft orderer", "s at 2,947 tx/s", 0.33, 0.33, latency_s),
    ]


def predictions() -> list[Prediction]:
    """Return all of them."""
    return quartierstrom() + cometbft() + fabric()


def what_hangs_on_assumptions() -> str:
    """Return a Markdown table of predictions under other assumed values."""
    lines = ["| assumed | predicted |", "|---|---|"]
    for gbit_s in (0.5, 1.0, 2.0, 10.0):
        near, far, most = cometbft_figures(gbit_s * 1e6)
        pace = f"{near:.3g} blocks/min, {far:.3g} over the WAN" if near else "400 tx/s do not fit"
        lines.append(f"| CometBFT on {gbit_s:g} Gbit/s | {pace}; at most {most:.4g} tx/s |")
    for check_s in (0.001, METER_S, 0.01, 0.05):
        narrow, broad, knee, _ = meter_figures(check_s)
        lines.append(
            f"| a meter checks a signature in {1000 * check_s:g} ms | {narrow:.3g} tx/s on 1,000 "
            f"kbit/s, {broad:.3g} on 10,000; 10 tx/s fail at {knee:g} validators |"
        )
    return "\n".join(lines)


def table(found: list[Prediction]) -> str:
    """Return a Markdown table."""
    lines = ["| system | figure | measured | predicted | over measured |", "|---|---|---|---|---|"]
    for one in found:
        measured = f"{one.low:g}" if one.low == one.high else f"{one.low:g} to {one.high:g}"
        miss = "within" if one.miss == 1 else f"{one.miss:.2f}"
        cells = one.system, one.figure, measured, f"{one.predicted:.3g}", miss
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--write", type=places.page("predictions", "hangs"), help="put the table into this page"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = predictions()
    if options.write:
        write(options.write, {"predictions": table(found), "hangs": what_hangs_on_assumptions()})
    rows = [asdict(one) | {"miss": one.miss} for one in found]
    print(json.dumps(rows, indent=2) if options.json else table(found))


if __name__ == "__main__":
    main()
