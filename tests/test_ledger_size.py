"""Chain size and lightweight nodes: bytes that are kept, and what headers alone can show."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
import torch

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger, option
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import MarketTransactions, Transactions
from gridbazaar.ledger_sim.record import merkle
from gridbazaar.ledger_sim.record.light_node import LightNode, follow, prove, sizes
from gridbazaar.ledger_sim.record.recorder import Recorder
from gridbazaar.ledger_sim.record.signed_chain import SignedChain
from gridbazaar.ledger_sim.record.verify import verify
from gridbazaar.ledger_sim.record.work import mine

F64 = torch.float64


@pytest.fixture(scope="module")
def chain():
    recorder = Recorder(torch.tensor([4]), 5, 900.0)
    for slot in range(4):
        net = torch.arange(5, dtype=F64).unsqueeze(0) * (slot + 1) - 3
        recorder.record_readings(slot, net, 900.0)
        recorder.record_settlement(slot, -net, torch.zeros_like(net), 900.0)
    (made,) = recorder.chains
    return made


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 100])
def test_every_leaf_leads_to_the_root_and_no_other_does(count):
    leaves = [merkle.leaf_hash(bytes([i])) for i in range(count)]
    root = merkle.root(leaves)
    for i, leaf in enumerate(leaves):
        siblings = merkle.path(leaves, i)
        assert merkle.root_above(leaf, i, count, siblings) == root
        assert len(siblings) <= (count - 1).bit_length()
        assert merkle.root_above(sha256(leaf).digest(), i, count, siblings) != root
        assert merkle.root_above(leaf, i, count, [*siblings, leaf]) is None
        if siblings:
            assert merkle.root_above(leaf, i, count, siblings[:-1]) is None
    with pytest.raises(IndexError, match=f"leaf {count} of {count}"):
        merkle.path(leaves, count)


def test_headers_alone_show_that_a_payment_stands_in_the_chain(chain):
    node = follow(chain)
    for height, block in enumerate(chain.blocks):
        for index in range(block.header.count):
            proof = prove(chain, height, index)
            assert node.holds(proof)
            changed = bytes([proof.record[0] ^ 1]) + proof.record[1:]
            assert not node.holds(replace(proof, record=changed))
            assert not node.holds(replace(proof, index=proof.index + 1))
            assert not node.holds(replace(proof, height=proof.height + 1))
    full, light = sizes([chain])
    assert light < full / 5
    with pytest.raises(LedgerError, match="block 99, transaction 0: the chain has"):
        prove(chain, 99, 0)


def test_a_lightweight_node_takes_no_header_that_does_not_follow(chain):
    node, blocks = LightNode(chain.id, chain.keys[-1]), chain.blocks
    with pytest.raises(LedgerError, match="does not follow"):
        node.accept(blocks[1].header, blocks[1].seal)
    with pytest.raises(LedgerError, match="not sealed by the validator"):
        node.accept(blocks[0].header, blocks[1].seal)
    stranger = LightNode(chain.id, chain.keys[0])
    with pytest.raises(LedgerError, match="not sealed by the validator"):
        stranger.accept(blocks[0].header, blocks[0].seal)
    node.accept(blocks[0].header, blocks[0].seal)
    with pytest.raises(LedgerError, match="does not follow"):
        node.accept(blocks[0].header, blocks[0].seal)
    assert node.tip == blocks[0].hash


def stored(name, layers=(), sending=True, seats=6):
    values = {**option("ledger", name), "layers": list(layers)}
    ledger = ledger_sim.make(complete_ledger(values))
    ledger.reset(torch.arange(2))
    everyone = torch.full((2, seats), sending)
    zero = torch.zeros(2, seats, dtype=F64)
    got = ledger.step(Transactions(everyone, zero, zero), 870.0)
    one = torch.ones(2, dtype=F64)
    written = ledger.submit_market(MarketTransactions(one * 0, one * 0, one * 6, one * 6))
    return ledger, got, written


def test_a_slot_grows_by_its_transactions_and_headers():
    ledger, got, written = stored("qbft")
    network = ledger.config.network
    blocks = 900 / ledger.consensus.interval_s
    assert got.header_bytes.tolist() == [blocks * network.message_bytes] * 2
    on_chain = got.latency_s.isfinite().sum(1) * network.transaction_bytes
    assert on_chain.min() > 0
    torch.testing.assert_close(got.stored_bytes - got.header_bytes, on_chain.to(got.stored_bytes))
    assert written.stored_bytes.tolist() == [network.transaction_bytes] * 2
    assert stored("ideal")[1].stored_bytes is None
    # Without orders PBFT makes no block, and nothing is kept.
    assert stored("pbft", sending=False)[1].stored_bytes.tolist() == [0, 0]


@pytest.mark.parametrize("layer", ["sharding", "two_chains", "consortium"])
def test_several_chains_keep_more_than_one(layer):
    _, alone, _ = stored("qbft")
    _, got, written = stored("qbft", [layer])
    assert (got.stored_bytes > alone.stored_bytes).all()
    assert (got.header_bytes > alone.header_bytes).all()
    assert (written.stored_bytes > 0).all()


def mined(bits):
    recorder = Recorder(torch.tensor([4]), 3, 900.0, work_bits=bits)
    for slot in range(3):
        recorder.record_readings(slot, torch.ones(1, 3) * (slot + 1), 900.0)
    return recorder.chains[0]


def test_mined_blocks_show_their_work_and_nothing_less_passes():
    """Block number, nonce and double hash, as bitcoin has them."""
    made = mined(8)
    assert verify(made) == []
    for height, block in enumerate(made.blocks):
        sealed = block.header.to_bytes() + block.seal
        assert block.header.height == height
        assert block.hash == sha256(sha256(sealed).digest()).digest()
        assert block.hash[0] == 0
    assert follow(made).tip == made.tip
    again = SignedChain.from_bytes(made.to_bytes())
    assert again == made
    assert again.id != mined(0).id
    # A nonce that is not enough is named, and so is what follows it.
    last = made.blocks[-1]
    for number in range(256):
        weak = replace(last, seal=last.seal[:-1] + bytes([number]))
        if weak.hash[0]:
            break
    forged = SignedChain(made.seed, made.keys, [*made.blocks[:-1], weak], made.work_bits)
    assert "hash begins with less than 8 zero bits" in str(verify(forged))
    node = LightNode(made.id, made.keys[-1], 8)
    for block in made.blocks[:-1]:
        node.accept(block.header, block.seal)
    with pytest.raises(LedgerError, match="header 2 has not 8 bits of work"):
        node.accept(weak.header, weak.seal)


def test_every_flipped_bit_of_a_mined_chain_is_found():
    made = mined(4)
    data = made.to_bytes()
    draw = torch.Generator().manual_seed(0)
    for place in torch.randint(8 * len(data), (60,), generator=draw).tolist():
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            chain = SignedChain.from_bytes(bytes(flipped))
        except LedgerError:
            continue
        assert verify(chain, genesis=made.id, tip=made.tip), place


def test_work_doubles_with_each_bit():
    """The mean nonce over many headers is 2**bits - 1, geometrically distributed."""
    for bits in (3, 6):
        headers = [bytes([i, j]) for i in range(20) for j in range(20)]
        tries = [int.from_bytes(mine(header, bits), "big") for header in headers]
        mean, n = 2.0**bits - 1, len(tries)
        deviation = (mean * (mean + 1) / n) ** 0.5
        assert abs(sum(tries) / n - mean) < 4 * deviation
