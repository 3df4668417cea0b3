"""The decoder of plans under sanitizers: whatever the bytes are, nothing outside them is read or written. No root."""

from __future__ import annotations

import random
import shutil
import struct

import pytest

from tests.kernel import harness
from tests.kernel.decoder import decode
from tests.kernel.harness import OPERATIONS, Op, encode

VALUES = {"u": 7, "f": 3, "s": "some/text", "b": b"\1\2\3\4\5\6\7\0", "v": ["one", "", "three"]}
EVERYTHING = [Op(name, tuple(VALUES[kind] for kind in kinds)) for name, (_, kinds) in OPERATIONS.items()]


def mutated(plan: bytes, rng: random.Random) -> bytes:
    """A plan with some words changed to what is likely to hurt, perhaps cut off."""
    new = bytearray(plan)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(0, len(new) - 8)
        word = at & ~7
        kind = rng.randrange(5)
        if kind == 0:
            new[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            new[word : word + 8] = struct.pack(
                "<Q", rng.choice((0, 2**64 - 1, 2**63, len(plan), 2**32, rng.getrandbits(64)))
            )
        elif kind == 2:
            new[word : word + 8] = struct.pack(
                "<II", rng.randrange(len(new) + 16), rng.choice((0, 1, 3, 8, len(new), 2**32 - 1))
            )
        elif kind == 3:
            new[word : word + 4] = struct.pack("<I", rng.randrange(0, len(new) + 16, 8))
        else:
            other = rng.randrange(0, len(new) - 8) & ~7
            new[word : word + 8] = new[other : other + 8]
    if rng.randrange(8) == 0:
        del new[rng.randrange(len(new)) :]
        new[8:12] = struct.pack("<I", len(new))[: max(0, len(new) - 8)]
    return bytes(new)


@pytest.fixture(autouse=True)
def compiler() -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")


def test_a_plan_of_every_operation_is_accepted() -> None:
    assert decode([encode(EVERYTHING), encode([])]) == ".."


def test_no_mutation_leads_outside_the_plan() -> None:
    rng = random.Random(1)
    plans = [
        encode(EVERYTHING),
        encode(EVERYTHING[:7]),
        encode([op for op in EVERYTHING if "v" in OPERATIONS[op.name][1]]),
    ]
    verdicts = decode([mutated(rng.choice(plans), rng) for _ in range(20000)])
    assert len(verdicts) == 20000
    assert verdicts.count(".") > 500  # or nothing but the first check would have been tried
    assert verdicts.count("x") > 5000


def test_every_truncation_is_refused() -> None:
    plan = encode(EVERYTHING)
    cut = [plan[:8] + struct.pack("<I", size) + plan[12:size] for size in range(16, len(plan) - 8, 4)]
    assert decode(cut).count(".") == 0


def test_vectors_that_share_their_words_are_harmless() -> None:
    plan = bytearray(encode([harness.op("exec", ["a", "b"], ["c"])]))
    plan[32:40] = plan[24:32]
    assert decode([bytes(plan)]) == "x"


def test_a_string_that_covers_a_vector_still_ends() -> None:
    # The vector's words become pointers after the string was checked; its NUL is overwritten by one.
    plan = bytearray(encode([harness.op("find_exec", "x" * 8, ["y" * 8, "z" * 8])]))
    vector = struct.unpack_from("<II", plan, 32)[0]
    plan[24:32] = struct.pack("<II", vector, 1)
    assert plan[vector + 1] == 0
    assert decode([bytes(plan)]) == "."
