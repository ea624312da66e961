from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byom.ledger import segment as segments
from byom.ledger.recovery import recover
from byom.ledger.row import Attempt, Row
from byom.ledger.segment import FIRST, HEADER, MAGIC, records
from byom.ledger.spool import LONGEST_TEXT, Spool, SpoolFull
from tests.ledger.rows import row

SMALL = 64 * 1024
decode = msgspec.msgpack.Decoder(Row).decode


@pytest.fixture(params=[True, False], ids=["mapped", "written"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", segment_bytes=SMALL, mapped=request.param)
    yield spool
    spool.close(drained=True)


def stored(folder: Path) -> list[Row]:
    """Everything in the files, as another process would find it."""
    return [decode(payload) for path in sorted(folder.glob("*.seg")) for payload in records(path.read_bytes())]


def fill(spool: Spool, *, while_accepting: bool = False) -> int:
    """Append until it is full, or until it would rather not. Returns how many rows there was room for."""
    for number in range(100_000):
        spool.prepare()
        if while_accepting and not spool.accepting:
            return number
        try:
            spool.append(row())
        except SpoolFull:
            return number
    raise AssertionError("it is never full")


def test_a_row_is_in_the_file_when_append_returns(spool: Spool, tmp_path: Path) -> None:
    attempts = [Attempt("c", "m", 503, "upstream_overloaded", 12.5), Attempt("d", "m", 200, "", 80.0)]
    rows = [row(attempts=2, attempt_list=attempts), row(cost=None), row(model="modèle 模型 🙂")]
    for each in rows:
        spool.append(each)
        assert stored(tmp_path / "spool")[-1] == each
    assert spool.appended == 3


def test_rows_go_on_in_further_segments(spool: Spool, tmp_path: Path) -> None:
    rows = [row() for _ in range(2_000)]
    for each in rows:
        spool.append(each)
    assert len(spool.segments) > 3
    assert stored(tmp_path / "spool") == rows
    read: list[Row] = []
    for segment in spool.segments:
        position = FIRST
        while True:
            payloads, position = segment.read(position, 7)
            read += map(decode, payloads)
            if not payloads:
                break
    assert read == rows


def test_files_are_for_their_owner_alone(spool: Spool, tmp_path: Path) -> None:
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "spool").iterdir())


def test_segments_of_a_living_spool_are_left_alone(spool: Spool, tmp_path: Path) -> None:
    spool.append(row())
    assert recover(tmp_path / "spool", lambda payloads: pytest.fail("taken from a living process")) == 0


def test_what_a_closed_spool_leaves_is_taken_over_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=SMALL)
    rows = [row() for _ in range(1_500)]
    for each in rows:
        spool.append(each)
    spool.close(drained=False)
    found: list[Row] = []
    assert recover(tmp_path, lambda payloads: found.extend(map(decode, payloads))) == 1_500
    assert found == rows
    assert list(tmp_path.iterdir()) == []


def test_rows_stay_when_they_cannot_be_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=SMALL)
    spool.append(row())
    spool.close(drained=False)

    def fail(payloads: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        recover(tmp_path, fail)
    assert recover(tmp_path, lambda payloads: None) == 1


def test_a_very_long_row_keeps_its_money_and_loses_its_length(spool: Spool, tmp_path: Path) -> None:
    spool.append(row(error="x" * 200_000, cost=42, attempt_list=[Attempt("c", "m" * 90_000, 500, "e", 1.0)]))
    (found,) = stored(tmp_path / "spool")
    assert found.cost == 42
    assert found.error == "x" * LONGEST_TEXT
    assert found.attempt_list is None


def test_text_that_is_no_unicode_does_not_lose_the_row(spool: Spool, tmp_path: Path) -> None:
    spool.append(row(model="m\ud800", cost=42))
    (found,) = stored(tmp_path / "spool")
    assert (found.model, found.cost) == ("m?", 42)


def test_a_full_disk_is_a_clear_condition_before_it_is_an_error(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(segments.os, "posix_fallocate", no_room)
        refused_at = fill(spool, while_accepting=True)
        appended = refused_at + fill(spool)
        assert appended - refused_at > 50, "calls under way must still find room"
        assert len(stored(tmp_path / "spool")) == appended
    spool.prepare()
    assert spool.accepting
    spool.append(row())
    assert len(stored(tmp_path / "spool")) == appended + 1


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.isdir("/proc"), reason="mounting a small disk needs root")
def test_a_small_disk_fills_up_without_a_signal(tmp_path: Path) -> None:
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this container may not mount")
    try:
        spool = Spool(disk / "spool", segment_bytes=SMALL, mapped=True)
        appended = fill(spool)
        assert not spool.accepting
        assert len(stored(disk / "spool")) == appended > 500
        spool.close(drained=True)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_size_limit_stops_it_like_a_full_disk(tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys

    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from byom.ledger.spool import Spool\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "spool = Spool(Path(sys.argv[1]), segment_bytes=65536)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "spool.prepare(); spool.prepare()\n"
        "spool._rotate(); spool.prepare()\n"
        "print(spool.full, spool.accepting)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=30)
    assert done.returncode != -signal.SIGBUS
    assert done.stdout.split() == ["True", "True"], done.stderr


payloads = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


def image(contents: list[bytes], size: int = 8192) -> bytes:
    from zlib import crc32

    body = MAGIC + b"".join(HEADER.pack(len(each), crc32(each, len(each))) + each for each in contents)
    return body + bytes(max(0, size - len(body)))


@given(payloads)
def test_what_is_written_is_what_is_read(contents: list[bytes]) -> None:
    assert list(records(image(contents))) == contents


@settings(max_examples=300)
@given(payloads, st.data())
def test_a_torn_record_ends_the_segment_and_no_record_before_it_is_lost(
    contents: list[bytes], data: st.DataObject
) -> None:
    whole = image(contents)
    used = FIRST + sum(8 + len(each) for each in contents)
    cut = data.draw(st.integers(0, used))
    # The process died, or the machine, when only the first `cut` bytes had been written.
    torn = whole[:cut] + bytes(len(whole) - cut)
    found = list(records(torn))
    ends = [FIRST + sum(8 + len(each) for each in contents[: n + 1]) for n in range(len(contents))]
    complete = sum(end <= cut for end in ends)
    assert found[:complete] == contents[:complete]
    # Beyond the cut there is at most a record that happens to end in the zeros that follow anyway.
    assert found == contents[: len(found)]


@settings(max_examples=200)
@given(payloads.filter(bool), st.data())
def test_a_changed_byte_is_noticed(contents: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(image(contents))
    used = FIRST + sum(8 + len(each) for each in contents)
    at = data.draw(st.integers(FIRST, used - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    found = list(records(bytes(whole)))
    assert found == contents[: len(found)]
    assert len(found) < len(contents)


@given(st.binary(max_size=500))
def test_any_other_file_holds_no_records(content: bytes) -> None:
    if not content.startswith(MAGIC):
        assert list(records(content)) == []
