"""Nothing in a chain can be changed, moved, repeated, forged or cut off unseen."""

import random
from dataclasses import FrozenInstanceError, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from gridbazaar import ledger_sim
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.record import merkle
from gridbazaar.ledger_sim.record.privacy import OPEN
from gridbazaar.ledger_sim.record.recorder import Recorder
from gridbazaar.ledger_sim.record.signed_chain import (
    FEE,
    ORDER,
    PAYMENT,
    RECORD,
    VOLUME,
    SignedChain,
    private_key,
)
from gridbazaar.ledger_sim.record.verify import verify

CONFIG = Path(__file__).parents[1] / "configs" / "ledger" / "block.yaml"
B, N, SLOTS = 3, 5, 6


def recorded(**changes):
    """Run some slots with every order and settlement recorded; return recorder and receipts."""
    config = {
        "interval_s": 35.0,
        "block_gas": 1,
        "queue": "tip",
        "fees": {"rule": "fixed", "price": 0.001, "burned_share": 0.0},
    }
    ledger = ledger_sim.make(yaml.safe_load(CONFIG.read_text()) | config | changes)
    seed = torch.tensor([5, -1, 2**40])
    ledger.reset(seed)
    recorder = Recorder(seed, N, ledger.slot_s)
    generator = torch.Generator().manual_seed(1)
    sent, paid, fees = 0, torch.zeros(B, N, dtype=torch.float64), 0.0
    for slot in range(SLOTS):
        draw = torch.rand(4, B, N, generator=generator, dtype=torch.float64)
        orders = Transactions(draw[0] < 0.9, 780 + 120 * draw[1], (draw[2] * 4).round() / 4)
        receipts = ledger.step(orders, 870.0)
        recorder.record_orders(
            slot, orders.sent, draw[3], draw[3] - 0.5, orders.tip, orders.submitted_s, receipts
        )
        amount = (draw[3] * 1e6).round() / 1e6 * (1 - 2 * (draw[0] < 0.5).double())
        stands = ~receipts.reverted.unsqueeze(1)
        recorder.record_settlement(slot, amount * stands, torch.full_like(amount, 1e-3), 890.0)
        paid += amount * stands - receipts.fee - 1e-3
        sent += orders.sent.sum() - receipts.backlog.sum() * (slot == SLOTS - 1)
        fees = fees + receipts.fee.sum(1) + N * 1e-3
    return recorder, sent, paid, fees


@pytest.fixture(scope="module")
def chains():
    return recorded()[0].chains


@pytest.fixture
def chain(chains):
    return SignedChain.from_bytes(chains[0].to_bytes())


def where(chain, **kwargs):
    return {(fault.block, fault.transaction) for fault in verify(chain, **kwargs)}


def test_a_whole_chain_verifies_and_survives_its_file(chains, tmp_path):
    for number, chain in enumerate(chains):
        path = tmp_path / f"{number}.chain"
        chain.save(path)
        again = SignedChain.from_bytes(path.read_bytes())
        assert verify(again, tip=chain.tip) == []
        assert again.to_bytes() == chain.to_bytes()
    assert len(list(tmp_path.iterdir())) == B
    assert len({chain.id for chain in chains}) == B


@pytest.mark.parametrize("changes", [{}, {"block_gas": 300}, {"reorganisation_probability": 0.5}])
def test_blocks_hold_every_included_order_once_and_give_the_balances(changes):
    recorder, sent, paid, fees = recorded(**changes)
    records = [chain.records() for chain in recorder.chains]
    assert sum(int((r["kind"] == 1).sum()) for r in records) == sent
    for b, chain in enumerate(recorder.chains):
        balance = chain.balances()
        assert balance.sum() == 0
        np.testing.assert_allclose(balance[:N] / 1e6, paid[b], rtol=0, atol=1e-9)
        assert balance[-1] / 1e6 == pytest.approx(float(fees[b]), abs=1e-9)
        assert verify(chain) == []


def test_the_same_day_gives_the_same_chain(chains):
    again = recorded()[0].chains
    assert [chain.to_bytes() for chain in again] == [chain.to_bytes() for chain in chains]


def test_any_single_flipped_bit_is_found(chain):
    del chain.blocks[5:]  # the fewer there are, the sooner each bit had its turn
    data, tip = chain.to_bytes(), chain.tip
    generator = random.Random(0)
    for bit in generator.sample(range(len(data) * 8), 250):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        try:
            assert verify(SignedChain.from_bytes(bytes(wrong)), share=0.0, tip=tip), f"bit {bit}"
        except LedgerError:
            continue  # the data no longer has the form of a chain, which is found as well


@pytest.mark.parametrize("part", ["records", "signatures"])
def test_a_changed_transaction_is_named(chain, part):
    generator = random.Random(1)
    for _ in range(20):
        height = generator.randrange(len(chain.blocks))
        block = chain.blocks[height]
        data = bytearray(getattr(block, part))
        # In the last byte of price, quantity, tip, fee or amount, or anywhere in the signature.
        size = RECORD.itemsize if part == "records" else 64
        index = generator.randrange(len(data) // size)
        byte = size - 1 - 8 * generator.randrange(5)
        data[index * size + byte] ^= 1 << generator.randrange(8)
        chain.blocks[height] = replace(block, **{part: bytes(data)})
        assert where(chain, share=0.0) == {(height, None), (height, index)}
        chain.blocks[height] = block


def test_a_header_sealed_by_somebody_else_is_found(chain):
    header = replace(chain.blocks[-1].header, timestamp_ms=10**9)
    forged = private_key(chain.seed, 0).sign(header.to_bytes())
    last = len(chain.blocks) - 1
    chain.blocks[-1] = replace(chain.blocks[-1], header=header, seal=forged)
    assert where(chain) == {(last, None)}
    assert any("seal" in fault.what for fault in verify(chain))


def test_reordered_blocks_and_transactions_are_found(chain):
    blocks = list(chain.blocks)
    chain.blocks[2], chain.blocks[3] = blocks[3], blocks[2]
    assert {(2, None), (3, None)} <= where(chain)
    chain.blocks[:] = blocks
    height = next(i for i, block in enumerate(blocks) if block.header.count == N)
    block = blocks[height]
    size = RECORD.itemsize
    chain.blocks[height] = replace(
        block,
        records=block.record(1) + block.record(0) + block.records[2 * size :],
        signatures=block.signature(1) + block.signature(0) + block.signatures[128:],
    )
    assert where(chain) == {(height, None)}


def repeat(chain, block):
    """Let the true validator seal the block's transactions once more."""
    signatures = [block.signature(i) for i in range(block.header.count)]
    records = np.frombuffer(block.records, RECORD)
    validator = private_key(chain.seed, N + 1)
    chain.append(records, signatures, chain.blocks[-1].header.timestamp_ms, validator)


def test_a_replayed_transaction_is_named_though_the_validator_colludes(chain):
    count = chain.blocks[0].header.count
    repeat(chain, chain.blocks[0])
    last = len(chain.blocks) - 1
    assert where(chain) == {(last, i) for i in range(count)}
    assert all("replayed" in fault.what for fault in verify(chain))


def seal(chain, **fields):
    """Let the true validator seal one transaction, signed by its sender: seat 0 if not told."""
    record = np.zeros(1, RECORD)
    for name, value in fields.items():
        record[name] = value
    sender = private_key(chain.seed, int(record["sender"][0]))
    signature = sender.sign(chain.message(record.tobytes()))
    chain.append(record, [signature], 10**9, private_key(chain.seed, N + 1))


def test_a_transaction_from_another_chain_is_named(chain, chains):
    foreign = chains[1].blocks[-1]
    empty = SignedChain.start(chain.seed, N + 2)
    empty.blocks.append(chain.blocks[0])
    repeat(empty, foreign)
    assert (1, 0) in where(empty)


def test_a_forged_transaction_is_named_though_the_validator_colludes(chain):
    forged = np.zeros(1, RECORD)
    forged["kind"], forged["sender"], forged["nonce"], forged["amount"] = 2, N, 10**6, 5
    signature = private_key(chain.seed, 1).sign(chain.message(forged.tobytes()))
    validator = private_key(chain.seed, N + 1)
    chain.append(forged, [signature], chain.blocks[-1].header.timestamp_ms, validator)
    last = len(chain.blocks) - 1
    assert where(chain) == {(last, 0)}
    assert where(chain, share=0.0) == set()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": PAYMENT, "receiver": 1, "amount": -5}, "payment: not for account 0 to send"),
        ({"kind": VOLUME, "quantity": 7}, "published volume: not for account 0 to send"),
        ({"kind": ORDER, "sender": N}, f"order: not for account {N} to send"),
        ({"kind": FEE, "sender": N + 1, "fee": 1}, f"fee: not for account {N + 1} to send"),
        ({"kind": FEE, "fee": -3}, "fee of -3 is negative"),
        ({"kind": PAYMENT, "sender": N, "fee": -3}, "fee of -3 is negative"),
        ({"kind": ORDER, "receiver": 1, "amount": -5}, "order: only a payment moves -5"),
        ({"kind": FEE, "receiver": 1, "amount": 5}, "fee: only a payment moves 5"),
        ({"kind": ORDER, "slot": 0, "price": 9}, "second order of account 0 in slot 0"),
        ({"kind": 8}, "unknown kind 8"),
    ],
)
def test_what_is_against_the_rules_is_named_though_sender_and_validator_collude(fields, says):
    chain = SignedChain.start(5, N + 2)
    seal(chain, kind=ORDER, slot=0, nonce=0)
    seal(chain, **{"slot": SLOTS, "nonce": 1} | fields)
    (fault,) = verify(SignedChain.from_bytes(chain.to_bytes()))
    assert (fault.block, fault.transaction) == (1, 0)
    assert says in fault.what


def test_huge_fees_do_not_add_up_to_an_income():
    chain = SignedChain.start(5, N + 2)
    for nonce in range(2):
        seal(chain, kind=FEE, fee=2**63 - 1, nonce=nonce)
    with pytest.raises(LedgerError, match="beyond int64"):
        chain.balances()


def test_cut_off_blocks_are_found_by_the_kept_tip(chain):
    tip = chain.tip
    removed = chain.blocks.pop()
    assert where(chain) == set()
    assert where(chain, tip=tip) == {(len(chain.blocks), None)}
    chain.blocks.append(removed)
    data = chain.to_bytes()
    with pytest.raises(LedgerError, match=f"ends within block {len(chain.blocks) - 1}"):
        SignedChain.from_bytes(data[:-1])
    with pytest.raises(LedgerError, match="genesis"):
        SignedChain.from_bytes(data[:60])
    with pytest.raises(LedgerError, match="no chain"):
        SignedChain.from_bytes(b"something else")


def resealed(chain, seed, keep=lambda record: True, change=lambda records: records):
    """Write the same history again, with keys of this seed; the one who does holds them all."""
    copy = SignedChain.start(seed, len(chain.keys))
    keys = [private_key(seed, account) for account in range(len(chain.keys))]
    for block in chain.blocks:
        records = np.frombuffer(block.records, RECORD).copy()
        records = change(records[[keep(record) for record in records]])
        signatures = [keys[r["sender"]].sign(copy.message(r.tobytes())) for r in records]
        copy.append(records, signatures, block.header.timestamp_ms, keys[-1])
    return copy


def paid_more(records):
    records["amount"][records["kind"] == PAYMENT] += 1_000_000
    return records


def test_a_history_written_anew_is_found_by_what_was_kept_alone(chain):
    tip, genesis = chain.tip, chain.id
    first = chain.records()[0].tobytes()
    for forged in (
        resealed(chain, chain.seed, keep=lambda record: record.tobytes() != first),
        resealed(chain, chain.seed, change=paid_more),
        resealed(chain, chain.seed + 1),
    ):
        assert where(forged) == set()
        assert where(forged, tip=forged.tip) == set()  # its own tip says nothing
        assert where(forged, tip=tip) == {(len(chain.blocks), None)}
        foreign = forged.seed != chain.seed
        assert where(forged, genesis=genesis) == ({(0, None)} if foreign else set())
    assert where(resealed(chain, chain.seed), genesis=genesis, tip=tip) == set()


def test_a_changed_seed_is_not_hidden_by_a_kept_id(chain):
    genesis = chain.id
    with pytest.raises(FrozenInstanceError):
        chain.seed = 6
    other = replace(chain, seed=6)
    assert other.id != genesis
    assert (0, None) in where(other, genesis=genesis)


def test_the_recorder_keeps_genesis_and_tip_apart_from_the_chain():
    recorder, *_ = recorded()
    for chain, genesis, tip in zip(recorder.chains, recorder.genesis, recorder.tips, strict=True):
        assert verify(chain, genesis=genesis, tip=tip) == []
        chain.blocks.pop()
        assert where(chain, genesis=genesis, tip=tip) == {(len(chain.blocks), None)}


def test_a_chain_refuses_time_that_runs_backwards_and_missing_signatures(chain):
    validator = private_key(chain.seed, N + 1)
    with pytest.raises(LedgerError, match="in order of time"):
        chain.append(np.zeros(0, RECORD), [], 0, validator)
    with pytest.raises(LedgerError, match="one signature for each"):
        chain.append(np.zeros(1, RECORD), [], 10**9, validator)


def test_the_recorder_refuses_what_is_no_number():
    recorder = Recorder(torch.tensor([1]), 1, 900.0)
    with pytest.raises(LedgerError, match="amount holds a value that is not finite"):
        recorder.record_settlement(0, torch.full((1, 1), torch.nan), torch.zeros(1, 1), 870.0)


def test_sampling_is_a_share(chain):
    with pytest.raises(LedgerError, match="between 0 and 1"):
        verify(chain, share=1.5)
    assert verify(chain, share=0.3) == []


@pytest.mark.parametrize("count", range(1, 18))
def test_merkle_root_is_that_of_rfc_6962(count):
    def tree(leaves):
        if len(leaves) == 1:
            return leaves[0]
        half = 1 << (len(leaves) - 1).bit_length() - 1
        return sha256(b"\x01" + tree(leaves[:half]) + tree(leaves[half:])).digest()

    leaves = [merkle.leaf_hash(bytes([i])) for i in range(count)]
    assert merkle.root(leaves) == tree(leaves)
    assert merkle.root([]) == sha256(b"").digest()


def test_meter_readings_are_signed_once_a_slot_and_read_back():
    net = torch.tensor([[0.5, -1.25, 0.0]])
    recorder = Recorder(torch.tensor([4]), 3, 900.0)
    for slot in range(3):
        recorder.record_readings(slot, net * (slot + 1), 900.0)
    (chain,) = recorder.chains
    assert verify(chain, genesis=recorder.genesis[0], tip=recorder.tips[0]) == []
    assert chain.readings()[:3].tolist() == [
        [500, 1000, 1500], [-1250, -2500, -3750], [0, 0, 0],
    ]  # fmt: skip
    again = chain.records()[:1].copy()
    again["nonce"] += 7
    signature = private_key(4, 0).sign(chain.message(again[0].tobytes()))
    chain.append(again, [signature], 10**7, private_key(4, 4))
    assert [fault.what for fault in verify(chain)] == [
        "second meter reading of account 0 in slot 0, place 0"
    ]
    market = SignedChain.start(4, 5)
    forged = chain.records()[:1].copy()
    forged["sender"] = market.market
    signature = private_key(4, market.market).sign(market.message(forged[0].tobytes()))
    market.append(forged, [signature], 0, private_key(4, 4))
    assert "meter reading: not for account 3 to send" in str(verify(market))
    with pytest.raises(LedgerError, match="reading holds a value that is not finite"):
        recorder.record_readings(3, net * torch.nan, 900.0)


def test_a_sealed_reading_shows_its_hash_alone():
    recorder = Recorder(torch.tensor([4]), 3, 900.0, replace(OPEN, slots=4))
    recorder.record_readings(0, torch.tensor([[0.5, -1.25, 0.0]]), 900.0)
    (chain,) = recorder.chains
    assert verify(chain) == []
    assert (chain.readings() == 0).all()
    assert len({record["secret"].tobytes() for record in chain.records()}) == 3
