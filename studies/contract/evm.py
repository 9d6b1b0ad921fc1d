"""Ethereum machine in memory: transactions in, gas and output out; needs the extra `evm`.

py-evm executes under the rules of Prague; Osaka's cap on a transaction's gas is added here. There
are no blocks, and senders are not made to sign: neither changes the gas.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth.constants import BLANK_ROOT_HASH, ZERO_ADDRESS, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks import PragueVM
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth.vm.spoof import SpoofTransaction
from eth_abi import decode, encode
from eth_hash.auto import keccak
from eth_keys import keys

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import gas
from gridbazaar.studies.contract.compiled import SOURCE, Compiled, compile_market

CHAIN_ID = 1
BASE_FEE_WEI = 10**9
WEALTH_WEI = 10**24
START_S = 1_800_000_000
_ERROR = bytes.fromhex("08c379a0")  # selector of Error(string)


class RefusedError(LedgerError):
    """A transaction that the contract reverted; the message holds the contract's reason."""


@dataclass(frozen=True)
class Sent:
    """One transaction, as another EVM needs it to do the same; and the gas that it took here."""

    timestamp: int
    sender: str
    to: str
    value: int
    data: str
    gas: int


def private_key(account: int) -> keys.PrivateKey:
    """Derive an account's secp256k1 key from its number: the same in every run, never secret."""
    return keys.PrivateKey(sha256(b"simulated account %d" % account).digest())


class Evm:
    """World state of one chain, and the clock.

    Attributes:
        now_s: the timestamp that the next transactions see.
        sent: every transaction that succeeded.
    """

    def __init__(self) -> None:
        self.now_s = START_S
        self.sent: list[Sent] = []
        self._state = PragueVM.get_state_class()(AtomicDB(), self._context(), BLANK_ROOT_HASH)
        self._addresses: dict[int, bytes] = {}

    def address(self, account: int) -> bytes:
        """Return the 20 bytes of an account, rich and with a past from the first time on."""
        if account not in self._addresses:
            address = private_key(account).public_key.to_canonical_address()
            self._state.set_balance(address, WEALTH_WEI)
            self._addresses[account] = address
        return self._addresses[account]

    def balance(self, account: int) -> int:
        """Return what an account owns, in wei."""
        return int(self._state.get_balance(self.address(account)))

    def send(self, account: int, to: bytes, data: bytes, value: int = 0) -> Any:
        """Execute a transaction; to no address it deploys `data`.

        Returns:
            its computation, and the gas that it used.

        Raises:
            RefusedError: when it fails, with the contract's reason.
        """
        sender = self.address(account)
        limit = int(gas.transaction_gas_cap())
        transaction = self._transaction(sender, to, data, value, limit)
        self._state.lock_changes()
        computation = self._state.apply_transaction(transaction)
        used = PragueVM.finalize_gas_used(transaction, computation)
        if computation.is_error:
            raise RefusedError(f"{_reason(computation)} (after {used:,} gas)")
        self.sent.append(Sent(self.now_s, sender.hex(), to.hex(), value, data.hex(), used))
        return computation, used

    def call(self, to: bytes, data: bytes) -> bytes:
        """Return the output of a call; whatever it changes is undone."""
        transaction = self._transaction(self.address(0), to, data, 0, 10**12)
        before = self._state.snapshot()
        computation = self._state.apply_transaction(transaction)
        self._state.revert(before)
        if computation.is_error:
            raise RefusedError(_reason(computation))
        return bytes(computation.output)

    def move_to(self, now_s: int) -> None:
        """Set the clock.

        Raises:
            LedgerError: for a time before the present one.
        """
        if now_s < self.now_s:
            raise LedgerError(f"the clock stands at {self.now_s} s and cannot return to {now_s} s")
        self.now_s = now_s
        self._state.execution_context = self._context()

    def _context(self) -> ExecutionContext:
        return ExecutionContext(
            coinbase=ZERO_ADDRESS, timestamp=self.now_s, block_number=1, difficulty=0,
            mix_hash=ZERO_HASH32, gas_limit=60_000_000, prev_hashes=(), chain_id=CHAIN_ID,
            base_fee_per_gas=BASE_FEE_WEI, excess_blob_gas=0,
        )  # fmt: skip

    def _transaction(self, sender: bytes, to: bytes, data: bytes, value: int, limit: int) -> Any:
        unsigned = PragueTransactionBuilder.create_unsigned_transaction(
            nonce=self._state.get_nonce(sender), gas_price=BASE_FEE_WEI, gas=limit, to=to,
            value=value, data=data,
        )  # fmt: skip
        return SpoofTransaction(unsigned, from_=sender)


def _reason(computation: Any) -> str:
    output = bytes(computation.output)
    if output.startswith(_ERROR):
        return str(decode(["string"], output[4:])[0])
    return f"{type(computation.error).__name__} {computation.error}".strip()


class MarketContract:
    """The market contract, deployed by account 0, its operator.

    Attributes:
        evm: the machine that it runs on.
        gas: what the last transaction used.
    """

    def __init__(
        self, k: float = 0.5, penalty: int = 0, slot_s: int = 900, reveal_s: int = 0,
        challenge_s: int = 3600, source: Path = SOURCE,
    ) -> None:  # fmt: skip
        self.evm = Evm()
        self._code: Compiled = compile_market(source)
        arguments = (round(k * 10_000), penalty, slot_s, reveal_s, challenge_s)
        computation, self.gas = self.evm.send(0, b"", self._code.deployment(*arguments))
        self.address = bytes(computation.msg.storage_address)
        self.slot_s, self.reveal_s = slot_s, reveal_s

    def send(self, account: int, function: str, *arguments: Any, value: int = 0) -> int:
        """Send a transaction to the contract and return the gas that it used.

        Raises:
            RefusedError: when the contract refuses, with the function and the reason.
        """
        data = self._code.call(function, *arguments)
        try:
            _, self.gas = self.evm.send(account, self.address, data, value)
        except RefusedError as error:
            raise RefusedError(f"{function} of account {account}: {error}") from None
        return self.gas

    def view(self, function: str, *arguments: Any) -> Any:
        """Return what a function answers: one value, or a tuple of several."""
        output = self.evm.call(self.address, self._code.call(function, *arguments))
        result = self._code.result(function, output)
        return result[0] if len(result) == 1 else result

    def open_interval(self) -> int:
        """Return the number of an interval that is still open, one slot ahead of the clock."""
        return self.evm.now_s // self.slot_s + 1

    def close(self, interval: int) -> None:
        """Move the clock to where the interval may be cleared."""
        self.evm.move_to(interval * self.slot_s + self.reveal_s)

    def domain(self) -> bytes:
        """Return the EIP-712 domain separator, which binds signatures to chain and contract."""
        kind = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
        values = (keccak(kind), keccak(b"GridBazaar"), keccak(b"1"), CHAIN_ID, self.address)
        return keccak(encode(["bytes32", "bytes32", "bytes32", "uint256", "address"], values))

    def sign(self, account: int, kind: str, *values: Any) -> tuple[int, int, int]:
        """Return v, r, s of the EIP-712 signature of a struct by an account.

        Args:
            account: whose key signs.
            kind: the struct as EIP-712 writes it, `Order(address trader,...)`.
            values: of its fields in turn.
        """
        types = [field.split()[0] for field in kind[kind.index("(") + 1 : -1].split(",")]
        content = keccak(keccak(kind.encode()) + encode(types, values))
        digest = keccak(b"\x19\x01" + self.domain() + content)
        signature = private_key(account).sign_msg_hash(digest)
        return signature.v + 27, signature.r, signature.s
