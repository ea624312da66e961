from __future__ import annotations

import os
import re

import pytest

from byom.ledger.request_id import new_id


def test_ids_are_unique_and_in_order() -> None:
    ids = [new_id() for _ in range(50_000)]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"req_[0-9a-f]{26}", each) for each in ids[:100])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_makes_other_ids() -> None:
    read, write = os.pipe()
    new_id()
    child = os.fork()
    if child == 0:
        os.write(write, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 100).decode()
    os.close(read)
    os.close(write)
    assert theirs[-8:] != new_id()[-8:]
