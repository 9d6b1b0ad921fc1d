"""Vyper source to bytecode, and calls to the bytes that the contract reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from gridbazaar.errors import UnknownNameError

SOURCE = Path(__file__).with_name("market.vy")
MECHANISMS = Path(__file__).with_name("mechanisms.vy")  # which builds on the first


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of the contract.

    Attributes:
        bytecode: that deploys it, before the constructor's arguments.
        functions: each external function's entry of the ABI; the constructor is `__init__`.
    """

    bytecode: bytes
    functions: Mapping[str, Mapping[str, Any]]

    def deployment(self, *arguments: Any) -> bytes:
        """Return the data of the transaction that deploys it."""
        return self.bytecode + self._arguments("__init__", arguments)

    def call(self, name: str, *arguments: Any) -> bytes:
        """Return the data of a call: four bytes of the signature's hash, then the arguments.

        Raises:
            UnknownNameError: for a function that it does not have, with the nearest.
            ValueError: for arguments of another number or type.
        """
        from eth_hash.auto import keccak

        encoded = self._arguments(name, arguments)
        signature = f"{name}({','.join(self._types(name, 'inputs'))})"
        return keccak(signature.encode())[:4] + encoded

    def result(self, name: str, output: bytes) -> tuple[Any, ...]:
        """Return what a call's output holds."""
        from eth_abi import decode

        return tuple(decode(self._types(name, "outputs"), output))

    def _types(self, name: str, side: str) -> list[str]:
        if name not in self.functions:
            raise UnknownNameError("contract function", name, self.functions)
        return [argument["type"] for argument in self.functions[name][side]]

    def _arguments(self, name: str, arguments: tuple[Any, ...]) -> bytes:
        from eth_abi import encode
        from eth_abi.exceptions import EncodingError

        types = self._types(name, "inputs")
        if len(types) != len(arguments):
            raise ValueError(f"{name} takes {len(types)} arguments ({', '.join(types)}), "
                             f"given were {len(arguments)}")  # fmt: skip
        try:
            return encode(types, arguments)
        except EncodingError as error:
            raise ValueError(f"{name}({', '.join(types)}): {error}") from error


def source_digest(source: Path = SOURCE) -> str:
    """Return the hash of a contract's source, by which a gas table names what was measured."""
    return sha256(source.read_bytes()).hexdigest()


@cache
def compile_market(source: Path = SOURCE) -> Compiled:
    """Compile a contract; what it imports lies beside it.

    Raises:
        ModuleNotFoundError: without the extra `evm`, saying how to install it.
    """
    try:
        from vyper import compile_code
        from vyper.compiler.input_bundle import FilesystemInputBundle
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is missing: the contract needs the extra; pip install 'gridbazaar[evm]'"
        ) from error
    made = compile_code(
        source.read_text(encoding="utf-8"),
        output_formats=["abi", "bytecode"],
        input_bundle=FilesystemInputBundle([source.parent]),
    )
    functions = {
        entry.get("name", "__init__"): entry
        for entry in made["abi"]
        if entry["type"] in ("function", "constructor")
    }
    return Compiled(bytes.fromhex(made["bytecode"].removeprefix("0x")), functions)
