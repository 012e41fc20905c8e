"""Seeded damage to the bytes of a small file: the same seed gives the same damage everywhere."""

from __future__ import annotations

import random
from collections.abc import Callable

NUMBERS = (
    "0",
    "-1",
    "1e999",
    "-1e308",
    "nan",
    "inf",
    "9" * 40,
    "4294967296",
    "-9223372036854775809",
    "0.1e-400",
    "1/0",
)
"""Values that parsers of text stumble over."""
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Values that parsers of binary fields stumble over."""
TOKENS = (
    b"\x00",
    b"\x1b]0;x\x07",
    b"\xff\xfe",
    b"../../../etc/passwd",
    b"%s%n",
    b"\n" * 50,
    b'"',
    b"{" * 200,
    b"[" * 5000,
)


def mutate(data: bytes, seed: int, others: list[bytes]) -> bytes:
    """One to eight kinds of damage, one after the other.

    Args:
        data: the whole file.
        seed: decides everything.
        others: further files of the kind, of which pieces are taken.
    """
    chance = random.Random(seed)
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4, 8))):
        chance.choice(_KINDS)(out, chance, others)
        if not out:
            break
    return bytes(out)


def _place(out: bytearray, chance: random.Random) -> int:
    """Headers are short and matter most: half of the damage goes into the first 256 bytes."""
    limit = min(len(out), 256) if chance.random() < 0.5 else len(out)
    return chance.randrange(max(1, limit))


def _flip(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    if out:
        out[_place(out, chance)] ^= 1 << chance.randrange(8)


def _set_number(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    width = chance.choice((1, 2, 4))
    value = chance.choice(EDGES) & ((1 << 8 * width) - 1)
    at = _place(out, chance)
    out[at : at + width] = value.to_bytes(width, chance.choice(("big", "little")))


def _cut(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    del out[_place(out, chance) :]


def _remove(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    at = _place(out, chance)
    del out[at : at + chance.choice((1, 4, 16, 256))]


def _repeat(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    at = _place(out, chance)
    piece = bytes(out[at : at + chance.choice((1, 8, 64, 512))])
    out[at:at] = piece * chance.choice((1, 2, 20))


def _noise(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    at = _place(out, chance)
    out[at : at + 16] = chance.randbytes(chance.choice((4, 16, 64)))


def _splice(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    other = chance.choice(others) if others else bytes(out)
    at, begin = _place(out, chance), chance.randrange(max(1, len(other)))
    out[at : at + 64] = other[begin : begin + chance.choice((16, 64, 1024))]


def _text_number(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    """Another number in place of one written in digits."""
    digits = [at for at, byte in enumerate(out[:4096]) if 48 <= byte <= 57]
    if digits:
        begin = end = chance.choice(digits)
        while end < len(out) and 48 <= out[end] <= 57:
            end += 1
        out[begin:end] = chance.choice(NUMBERS).encode()


def _token(out: bytearray, chance: random.Random, others: list[bytes]) -> None:
    at = _place(out, chance)
    out[at:at] = chance.choice(TOKENS)


_KINDS: tuple[Callable[[bytearray, random.Random, list[bytes]], None], ...] = (
    _flip, _flip, _set_number, _set_number, _cut, _remove, _repeat, _noise, _splice, _text_number, _token,
)  # fmt: skip
