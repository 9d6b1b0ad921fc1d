"""Seconds and bytes of encrypting readings and of signing pseudonyms blindly, measured here.

    python studies/privacy_costs.py
    python studies/privacy_costs.py --bits 3072 --repeats 50

Medians of processor time on one core, which a busy machine does not stretch. What the layers
`homomorphic_aggregation` and `blind_credentials` charge comes from here (`configs/layer/`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from cryptography.hazmat.primitives.asymmetric import rsa

from gridbazaar.ledger_sim.record import blind_rsa, homomorphic

Row = tuple[str, float, int]  # what is done, seconds, bytes of what comes out


def seconds(action: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the median processor time of a call, and what it returned last."""
    taken: list[float] = []
    result = None
    for _ in range(repeats):
        start = time.process_time()
        result = action()
        taken.append(time.process_time() - start)
    return median(taken), result


def of_sums(bits: int, repeats: int) -> list[Row]:
    """Measure Paillier's cryptosystem by python-paillier: a reading, a sum of 41, a bill of 96."""
    biller = homomorphic.Biller(bits)
    reading = torch.tensor([1.234])
    encrypt_s, (one,) = seconds(lambda: homomorphic.encrypt(biller.public, reading), repeats)
    add_s, _ = seconds(lambda: one + one, repeats)
    sum_s, summed = seconds(lambda: homomorphic.total([one] * 41), repeats)
    bill_s, _ = seconds(lambda: homomorphic.weighted([one] * 96, [340] * 96), repeats)
    open_s, opened = seconds(lambda: biller.open(summed), repeats)
    if opened != 41 * 1234:
        raise SystemExit(f"the opened sum is {opened}, expected {41 * 1234}")
    size = 2 * bits // 8
    return [
        ("meter encrypts a reading", encrypt_s, size),
        ("aggregator adds a reading", add_s, size),
        ("aggregator sums 41 readings", sum_s, size),
        ("biller's bill of a seat, 96 readings times prices", bill_s, size),
        ("biller opens a sum", open_s, 8),
    ]


def of_credentials(bits: int, repeats: int) -> list[Row]:
    """Measure blind RSA signatures of 32-byte accounts."""
    key = rsa.generate_private_key(65537, bits)
    public, prepared = key.public_key(), blind_rsa.prepare(bytes(32))
    blind_s, blinded = seconds(lambda: blind_rsa.blind(public, prepared), repeats)
    sign_s, answer = seconds(lambda: blind_rsa.blind_sign(key, blinded.message), repeats)
    finalize_s, signature = seconds(
        lambda: blind_rsa.finalize(public, prepared, answer, blinded.inverse), repeats
    )
    verify_s, _ = seconds(lambda: blind_rsa.valid(public, prepared, signature), repeats)
    sent = len(signature) + blind_rsa.PREFIX
    return [
        ("seat blinds a pseudonym", blind_s, len(blinded.message)),
        ("registrar signs it", sign_s, len(answer)),
        ("seat takes the blinding off and checks", finalize_s, sent),
        ("anybody checks a credential", verify_s, sent),
    ]


def main(words: Sequence[str] | None = None) -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bits", type=int, default=2048, help="of both moduli")
    parser.add_argument("--repeats", type=int, default=20, help="of which the median is taken")
    options = parser.parse_args(words)
    print("| what | time, ms | bytes |", "|---|---|---|", sep="\n")
    rows = of_sums(options.bits, options.repeats) + of_credentials(options.bits, options.repeats)
    for what, taken_s, size in rows:
        print(f"| {what} | {taken_s * 1e3:.3f} | {size} |")


if __name__ == "__main__":
    main()
