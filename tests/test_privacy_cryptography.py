"""Blind signatures held to RFC 9474, encrypted sums to plain ones, and who is refused."""

import itertools
import json
import sys
from hashlib import sha384
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.hashes import SHA384

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger, option
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import MarketTransactions, Transactions, gas
from gridbazaar.ledger_sim.layers.protocol import layers_of
from gridbazaar.ledger_sim.record import blind_rsa, homomorphic
from gridbazaar.ledger_sim.record.privacy import VolumePublisher, disclosure_of
from gridbazaar.ledger_sim.record.registrar import Registrar, SampledCredentials, admits, obtain

VECTOR = json.loads((Path(__file__).parent / "reference" / "rfc9474.json").read_text())
BITS = 1024  # short keys, for speed
N, PRICE = 6, 1e-9
EVM = {"gas": "evm", "block_gas": 6e7}
FIXED = {"fees": {"rule": "fixed", "price": PRICE, "burned_share": 0.0}}


def number(name):
    return int(VECTOR[name], 16)


def data(name):
    return bytes.fromhex(VECTOR[name])


@pytest.fixture(scope="module")
def rfc_key():
    p, q, e = number("p"), number("q"), 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    parts = (d % (p - 1), d % (q - 1), pow(q, -1, p))
    return rsa.RSAPrivateNumbers(p, q, d, *parts, public).private_key()


@pytest.fixture(scope="module")
def biller():
    pytest.importorskip("phe", reason="the extra `privacy` is not installed")
    return homomorphic.Biller(BITS)


def test_blinding_signing_and_finalising_give_the_rfcs_bytes(rfc_key):
    public, prepared = rfc_key.public_key(), data("msg_prefix") + data("msg")
    factor = pow(number("inv"), -1, public.public_numbers().n)
    blinded = blind_rsa.blind(public, prepared, data("salt"), factor)
    assert blinded.message == data("blinded_msg")
    assert blinded.inverse == number("inv")
    answer = blind_rsa.blind_sign(rfc_key, blinded.message)
    assert answer == data("blind_sig")
    assert blind_rsa.finalize(public, prepared, answer, blinded.inverse) == data("sig")
    assert not blind_rsa.valid(public, prepared + b"x", data("sig"))


def test_the_own_encoding_is_the_librarys():
    # A modulus of 1025 bits has a first octet of its own in the encoding.
    for bits in (1024, 1025, 1031, 2048):
        key = rsa.generate_private_key(65537, bits)
        signature = key.sign(b"order", PSS(MGF1(SHA384()), 48), SHA384())
        n = key.public_key().public_numbers().n
        encoded = pow(int.from_bytes(signature), 65537, n).to_bytes((bits + 6) // 8)
        block, digest = encoded[:-49], encoded[-49:-1]
        counts = range(-(-len(block) // 48))
        mask = b"".join(sha384(digest + count.to_bytes(4)).digest() for count in counts)
        salt = bytes(a ^ b for a, b in zip(block, mask, strict=False))[-48:]
        assert blind_rsa.encode(b"order", salt, bits - 1) == encoded


@pytest.mark.parametrize("wrong", [b"", b"\xff" * 128, b"\x01" * 127])
def test_a_registrar_signs_numbers_below_its_modulus_alone(wrong):
    with pytest.raises(LedgerError, match="a number below the modulus"):
        blind_rsa.blind_sign(rsa.generate_private_key(65537, BITS), wrong)


def test_a_wrong_answer_is_found_by_the_client():
    key = rsa.generate_private_key(65537, BITS)
    prepared = blind_rsa.prepare(b"account")
    blinded = blind_rsa.blind(key.public_key(), prepared)
    with pytest.raises(LedgerError, match="no signature of what it was given"):
        blind_rsa.finalize(key.public_key(), prepared, blinded.message, blinded.inverse)


def test_all_that_the_registrar_saw_fits_every_credential():
    """For any request and any credential there is a blinding factor that makes them one."""
    key = rsa.generate_private_key(65537, BITS)
    public, d = key.public_key(), key.private_numbers().d
    n = public.public_numbers().n
    issued = []
    for seat in range(3):
        prepared, salt = blind_rsa.prepare(bytes([seat])), bytes([seat]) * 48
        blinded = blind_rsa.blind(public, prepared, salt)
        answer = blind_rsa.blind_sign(key, blinded.message)
        signature = blind_rsa.finalize(public, prepared, answer, blinded.inverse)
        issued.append((prepared, salt, blinded.message, answer, signature))
    for (prepared, salt, _, _, signature), (_, _, seen, answer, _) in itertools.product(
        issued, issued
    ):
        encoded = int.from_bytes(blind_rsa.encode(prepared, salt, BITS - 1))
        factor = pow(int.from_bytes(seen) * pow(encoded, -1, n) % n, d, n)
        told = blind_rsa.blind(public, prepared, salt, factor)
        assert told.message == seen
        assert blind_rsa.finalize(public, prepared, answer, told.inverse) == signature


def test_a_member_gets_one_credential_a_slot_and_nobody_else_any():
    registrar = Registrar([0, 2], BITS)
    credential = obtain(registrar, 2, 5, b"mine")
    assert admits(registrar, b"mine", credential)
    assert not admits(registrar, b"other", credential)
    assert not admits(Registrar([2], BITS), b"mine", credential)
    obtain(registrar, 2, 6, b"next")
    with pytest.raises(LedgerError, match="seat 2 has its credential for slot 5"):
        obtain(registrar, 2, 5, b"second")
    with pytest.raises(LedgerError, match="seat 1 is not registered"):
        obtain(registrar, 1, 5, b"stranger")
    assert set(registrar.seen) == {(2, 5), (2, 6)}
    assert all(account not in blind for account in (b"mine", b"next") for blind in
               registrar.seen.values())  # fmt: skip


def ledger_with(*layers, **changes):
    chosen = {"name": "block", **FIXED, **changes, "layers": list(layers)}
    ledger = ledger_sim.make(complete_ledger(option("ledger", "block") | chosen))
    ledger.reset(torch.tensor([3, 4]))
    return ledger


def everyone(n=N):
    like = torch.zeros(2, n, dtype=torch.float64)
    return Transactions(like == 0, like + 700.0, like)


def settle(ledger, n=N):
    one = torch.ones(2, dtype=torch.float64)
    return ledger.submit_market(MarketTransactions(0 * one, 0 * one, n * one, n * one))


def test_an_unregistered_seats_order_is_refused_and_costs_nothing():
    ledger = ledger_with({"name": "blind_credentials", "unregistered": [1, 4]}, **EVM)
    got = ledger.step(everyone(), 870.0)
    assert got.included.tolist() == [[True, False, True, True, False, True]] * 2
    assert not got.fee[:, [1, 4]].any()
    assert got.latency_s[:, [1, 4]].isinf().all()
    assert disclosure_of(ledger).unregistered == (1, 4)
    far = ledger_with({"name": "blind_credentials", "unregistered": [N]})
    with pytest.raises(LedgerError, match="names seat 6; there are 6: give 0 to 5"):
        far.step(everyone(), 870.0)


def test_an_order_in_a_block_without_a_credential_is_found():
    disclosure = disclosure_of(ledger_with({"name": "blind_credentials", "unregistered": [1]}))
    check = SampledCredentials(disclosure, 3)
    accounts = [[b"a", b"b", b"c"]]
    assert check.check(0, accounts, torch.tensor([[True, False, True]])) == []
    (fault,) = check.check(0, accounts, torch.tensor([[True, True, True]]))
    assert "chain 0, slot 0: seat 1 is not registered" in fault


def test_a_credential_costs_its_bytes_and_its_check_on_top_of_a_pseudonym():
    by_name = {}
    for name in ("pseudonyms", "blind_credentials"):
        ledger = ledger_with(name, **EVM)
        by_name[name] = ledger.step(everyone(), 870.0).fee, settle(ledger)
    layer = next(layers_of(ledger))
    assert layer.credential_bytes == 2048 // 8 + 32
    extra = layer.config.verify_gas + 16 * layer.credential_bytes
    (plain, posted), (fee, checked) = by_name.values()
    torch.testing.assert_close(fee, plain + extra * PRICE)
    torch.testing.assert_close(checked.delay_s, posted.delay_s + N * layer.config.verify_s)
    assert layer.bytes_per_day(N) == (N * 96 * 288, N * 96 * 512)


def test_sums_cost_their_ciphertexts_and_wait_until_they_are_opened():
    by_name = {}
    for name in ("aggregated_disclosure", "homomorphic_aggregation"):
        ledger = ledger_with({"name": name, "seats": 2, "slots": 1}, **EVM)
        ledger.step(everyone(), 870.0)
        by_name[name] = settle(ledger)
    layer = next(layers_of(ledger))
    plain, encrypted = by_name.values()
    assert layer.ciphertext_bytes == 512
    data = 3 * 512 * gas.CALL_DATA_GAS
    torch.testing.assert_close(encrypted.fee, plain.fee + data * PRICE)
    c = layer.config
    works_s = c.encrypt_s + c.round_trip_s + N * c.add_s + 3 * c.open_s
    torch.testing.assert_close(encrypted.delay_s, plain.delay_s + works_s)
    assert torch.equal(encrypted.transactions, plain.transactions)
    assert layer.bytes_per_day(N) == (3 * 96 * 512, N * 96 * 512)


def test_opened_sums_and_bills_are_the_plain_ones(biller):
    readings = torch.tensor([1.25, -0.5, 3.0, 0.001])
    own = homomorphic.encrypt(biller.public, readings)
    assert [biller.open(one) for one in own] == [1250, -500, 3000, 1]
    assert biller.open(homomorphic.total(own)) == 3751
    prices = [340, 82, 340, 0]  # thousandths of a EUR per kWh
    assert biller.open(homomorphic.weighted(own, prices)) == 1250 * 340 - 500 * 82 + 3000 * 340
    with pytest.raises(LedgerError, match="3 prices for 4 readings"):
        homomorphic.weighted(own, prices[:3])
    with pytest.raises(LedgerError, match="no ciphertexts"):
        homomorphic.total([])


def test_equal_readings_have_unlike_ciphertexts(biller):
    own = homomorphic.encrypt(biller.public, torch.ones(4))
    assert len({one.ciphertext() for one in own}) == 4
    assert all(one.ciphertext().bit_length() <= 2 * BITS for one in own)


@pytest.mark.parametrize("told", [0.0, 0.05])
def test_a_published_sum_that_is_not_the_ciphertexts_is_found(biller, told):
    layer = {"name": "homomorphic_aggregation", "seats": 2, "slots": 3, "key_bits": 512}
    disclosure = disclosure_of(ledger_with(layer))
    assert (disclosure.seats, disclosure.slots, disclosure.cipher_bits) == (2, 3, 512)
    publisher = VolumePublisher(disclosure, torch.tensor([3, 4]), 96)
    sums = homomorphic.EncryptedSums(disclosure, 2)
    draw = torch.Generator().manual_seed(1)
    faults = []
    for _ in range(6):
        volume = torch.rand(2, 5, generator=draw, dtype=torch.float64) * 7
        published = publisher.publish(volume)
        if published is not None:
            published.volume[1, 0] += told
        faults += sums.add(volume, published)
    # One period of 24 and one group are encrypted: 3 slots of 2 seats of 2 markets.
    assert sums.readings == 12
    assert len(faults) == (told > 0)
    if faults:
        assert faults[0].startswith("chain 1, sum of group 0: ")


def test_each_group_has_its_turn_and_the_last_takes_the_rest(biller):
    layer = {"name": "homomorphic_aggregation", "seats": 2, "slots": 1, "key_bits": 512}
    disclosure = disclosure_of(ledger_with(layer))
    publisher = VolumePublisher(disclosure, torch.tensor([3]), 96)
    sums = homomorphic.EncryptedSums(disclosure, 1)
    found = []
    for slot in range(49):
        volume = torch.full((1, 5), 1.0 + slot, dtype=torch.float64)
        published = publisher.publish(volume)
        published.volume.add_(slot in (24, 25))
        found.append(sums.add(volume, published))
    assert sums.readings == 2 + 3 + 2
    assert [slot for slot, faults in enumerate(found) if faults] == [24]
    assert "sum of group 1: 76.000 was published, 75.000 is" in found[24][0]


def test_without_the_library_a_recorded_day_is_refused_with_the_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "phe", None)
    with pytest.raises(LedgerError, match=r"phe, which is not installed: pip install"):
        homomorphic.Biller(BITS)
