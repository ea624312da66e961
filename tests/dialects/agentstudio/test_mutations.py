"""Good payloads with changes anywhere: clean errors alone, and nothing is run."""

from __future__ import annotations

import pathlib
import pickle
import random
import time
from typing import Any

from byom.models.agentstudio import opcodes as op
from byom.models.agentstudio.errors import WireError
from byom.models.agentstudio.wire import decode_messages, decode_reply
from tests.dialects.agentstudio.stand_ins import ERAS, NUMPYS, PROTOCOLS, Array, message, pickled
from tests.dialects.agentstudio.watch import base64_of, nothing_runs

MUTATED = 100_000


def seeds() -> list[bytes]:
    """Good requests of every kind, small, so that a change hits what matters."""
    found = []
    for maker in NUMPYS:
        for protocol in PROTOCOLS:
            for era in ERAS:
                content = [
                    message(era, "system", "a"),
                    message(era, "user", Array((1, 2, 3), b"abcdef", "F")),
                    message(era, "user", pathlib.PurePosixPath("/a/b")),
                ]
                found.append(pickled(content, protocol, maker))
    return found


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(result))
        way = rng.randrange(7)
        if way == 0:
            result[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            result[at] = rng.randrange(256)
        elif way == 2:
            del result[at : at + rng.choice((1, 1, 2, 9))]
        elif way == 3:
            result[at:at] = rng.randbytes(rng.choice((1, 1, 2, 9)))
        elif way == 4:
            end = at + rng.randrange(1, 40)
            result[at:at] = result[at:end]
        elif way == 5:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            result[at : at + rng.randrange(20)] = other[start : start + rng.randrange(40)]
        else:
            result[at] = rng.choice(_OPCODES)
        if not result:
            return b""
    return bytes(result)


_OPCODES = [value for name, value in vars(op).items() if name.isupper() and isinstance(value, int)]


def test_a_hundred_thousand_changed_requests_give_clean_errors_and_run_nothing() -> None:
    rng = random.Random(20240324)
    good = seeds()
    for one in good:
        decode_messages(base64_of(one))
    refused = 0
    slowest = 0.0
    for number in range(MUTATED):
        payload = base64_of(mutated(good[number % len(good)], good, rng))
        began = time.process_time()
        try:
            with nothing_runs():
                decode_messages(payload)
        except WireError:
            refused += 1
        slowest = max(slowest, time.process_time() - began)
    assert MUTATED // 2 < refused < MUTATED
    assert slowest < 1.0


def test_changed_replies_give_clean_errors_and_run_nothing() -> None:
    rng = random.Random(7)
    values: list[Any] = ["Hello ☃", {"prompt_tokens": 1, "total_tokens": 2**40, "x": [1.5, None, True, ("a",)]}]
    good = [pickle.dumps(value, protocol) for value in values for protocol in PROTOCOLS]
    fine = [base64_of(pickle.dumps(value)) for value in values]
    for number in range(10_000):
        changed = base64_of(mutated(good[number % len(good)], good, rng))
        for pair in ((changed, fine[1]), (fine[0], changed)):
            try:
                with nothing_runs():
                    decode_reply(*pair)
            except WireError:
                continue
