"""The market as a contract: `market.vy`, its compiler and an EVM in memory to run it on.

Compiling and running need the optional extra: `pip install 'gridbazaar[evm]'`. What a call costs is
known without it, from `gridbazaar.ledger_sim.gas`.
"""

from gridbazaar.studies.contract.compiled import (
    MECHANISMS,
    SOURCE,
    Compiled,
    compile_market,
    source_digest,
)

__all__ = ["MECHANISMS", "SOURCE", "Compiled", "compile_market", "source_digest"]
