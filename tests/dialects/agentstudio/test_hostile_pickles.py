"""Pickles that were made to do harm are refused with one kind of error, quickly, and nothing in them is run."""

from __future__ import annotations

import builtins
import io
import os
import pathlib
import pickle
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from byom.models.agentstudio.errors import WireError
from byom.models.agentstudio.machine import MAX_STEPS
from byom.models.agentstudio.wire import decode_messages, decode_reply
from tests.dialects.agentstudio.stand_ins import PROTOCOLS, Array, Dtype, installed, message, pickled
from tests.dialects.agentstudio.watch import base64_of, nothing_runs


def test_the_watch_sees_what_stock_pickle_does() -> None:
    with pytest.raises(AssertionError), nothing_runs():
        pickle.loads(pickle.dumps(os.getcwd))


class Calling:
    """A pickle of it calls a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.called = function, args

    def __reduce__(self) -> Any:
        return self.called


CALLS = {
    "os.system": Calling(os.system, "echo run"),
    "eval": Calling(eval, "1"),
    "exec": Calling(exec, "1"),
    "open": Calling(open, "/etc/passwd"),
    "getattr": Calling(getattr, "", "upper"),
    "import": Calling(builtins.__import__, "os"),
    "Popen": Calling(subprocess.Popen, ["true"]),
    "pickle.loads": Calling(pickle.loads, pickle.dumps(1)),
    "bytearray": Calling(bytearray, 2**40),
    "Path.read": Calling(pathlib.Path.read_text, "/etc/passwd"),
}
PLACES: dict[str, Callable[[Any], Any]] = {
    "whole": lambda evil: evil,
    "message": lambda evil: [evil],
    "role": lambda evil: [message("current", evil, "text")],
    "content": lambda evil: [message("current", "user", evil)],
    "dict content": lambda evil: [{"role": "user", "content": evil}],
    "beside the content": lambda evil: [{"role": "user", "content": "text", "more": evil}],
    "array data": lambda evil: [message("current", "user", Array((1, 1, 3), evil, gaps=True))],
    "array shape": lambda evil: [message("current", "user", Array(evil, b"abc", gaps=True))],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", CALLS)
def test_no_function_is_called(call: str, place: str, protocol: int) -> None:
    text = base64_of(pickled(PLACES[place](CALLS[call]), protocol))
    with nothing_runs(), pytest.raises(WireError, match="not imported"):
        decode_messages(text)
    with nothing_runs(), pytest.raises(WireError, match="not imported"):
        decode_reply(text, text)


def stream(*pieces: bytes | int) -> bytes:
    """A pickle of protocol 4, written by hand."""
    return b"\x80\x04" + b"".join(bytes((one,)) if isinstance(one, int) else one for one in pieces) + b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


NUMPY = "numpy._core.multiarray"
MESSAGE = named("agent_studio.utils.types", "Message") + b")\x81"
DTYPE = named("numpy", "dtype") + text("u1") + b"\x89\x88\x87R"
EMPTY = named(NUMPY, "_reconstruct") + named("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"


def user(content: bytes) -> bytes:
    return stream(b"](", MESSAGE, b"}(", text("role"), text("user"), text("content"), content, b"ube")


def array(shape: bytes, data: bytes, dtype: bytes = DTYPE) -> bytes:
    return user(EMPTY + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb")


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\x80",
    "no end": b"\x80\x04]",
    "nothing": stream(),
    "protocol 0": pickle.dumps([{"role": "user", "content": "x"}], 0),
    "protocol 1": pickle.dumps([{"role": "user", "content": "x"}], 1),
    "protocol 6": b"\x80\x06].",
    "two values": stream(b"]]"),
    "open mark": stream(b"](]"),
    "more behind the end": stream(b"]") + b"x",
    "no such opcode": stream(b"\xff"),
    "persistent id": stream(b"Pid\n"),
    "binary persistent id": stream(b"]Q"),
    "instance": stream(b"(ios\nsystem\n"),
    "object": stream(b"(", b"cos\nsystem\n", b"o"),
    "extension": stream(b"\x82\x01"),
    "keyword object": stream(named("agent_studio.utils.types", "Message"), b")}\x92"),
    "set": stream(b"\x8f"),
    "frozenset": stream(b"(\x91"),
    "out of band buffer": stream(b"\x97"),
    "decimal text": stream(b"I999999999999\n"),
    "string with escapes": stream(b"S'x'\n"),
    "duplicated": stream(b"]2"),
    "pop of nothing": stream(b"0"),
    "append to nothing": stream(b"]a"),
    "append to text": stream(text("x"), b"]a"),
    "items of a list": stream(b"](", text("a"), text("b"), b"u"),
    "odd items": stream(b"}(", text("a"), b"u"),
    "number as a key": stream(b"}K\x01K\x01s"),
    "tuple as a key": stream(b"}))\x85)s"),
    "memo that is not there": stream(b"h\x07"),
    "far memo that is not there": stream(b"j\xff\xff\xff\xff"),
    "text that is longer than all": stream(b"X\xff\xff\xff\x7f"),
    "bytes that are longer than memory": stream(b"\x8e" + b"\xff" * 8),
    "text that is longer than memory": stream(b"\x8d" + b"\xff" * 8),
    "bytearray that is longer than memory": stream(b"\x96" + b"\xff" * 8),
    "huge integer": stream(b"\x8b" + struct.pack("<I", 2**31 - 1)),
    "large integer": stream(b"\x8a\xff" + b"\x7f" * 255),
    "text that is not UTF-8": stream(b"X\x02\x00\x00\x00\xff\xfe"),
    "half a surrogate pair": stream(b"]X\x03\x00\x00\x00\xed\xa0\x80a"),
    "name without end": stream(b"c" + b"a" * 300),
    "name that is a number": stream(b"K\x01K\x02\x93"),
    "name with a dot that reaches further": stream(named("numpy", "dtype.__reduce__")),
    "module with another below": stream(named("numpy.ma", "dtype")),
    "reduce of a list": stream(b"])R"),
    "reduce of text": stream(text("os.system"), b")R"),
    "reduce with a list": stream(named("numpy", "dtype"), b"]R"),
    "reduce of what was made": stream(EMPTY, b")R"),
    "call of a message": stream(named("agent_studio.utils.types", "Message"), b")R"),
    "new array": stream(named("numpy", "ndarray"), b")\x81"),
    "state of a list": stream(b"]}b"),
    "state of a name": stream(named("numpy", "dtype"), b"}b"),
    "two states": stream(MESSAGE, b"}", text("a"), text("b"), b"s", b"b", b"}", b"b"),
    "not a list": stream(b"}"),
    "no message": stream(b"]"),
    "a message without anything": stream(b"]", MESSAGE, b"a"),
    "a name as a message": stream(b"]", named("agent_studio.utils.types", "Message"), b"a"),
    "a message in itself": stream(b"]\x94h\x00a"),
    "a number as content": user(b"K\x01"),
    "nothing as content": user(b"N"),
    "a list as content": user(b"]"),
    "bytes as content": user(b"C\x01x"),
    "a name as content": user(named("numpy", "ndarray")),
    "a dtype as content": user(DTYPE),
    "an empty path": user(named("pathlib", "PosixPath") + b")R"),
    "a path of numbers": user(named("pathlib", "PosixPath") + b"K\x01\x85R"),
    "an array without data": user(EMPTY),
    "an array of nothing": user(named(NUMPY, "_reconstruct") + b")R"),
    "a shape larger than the data": array(b"M\xff\xffM\xff\x7fK\x03\x87", b"C\x03abc"),
    "a shape smaller than the data": array(b"K\x01K\x01K\x03\x87", b"C\x04abcd"),
    "a negative shape": array(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x03\x87", b"C\x03abc"),
    "a shape of truth": array(b"\x88\x88K\x03\x87", b"C\x03abc"),
    "a shape that is a list": array(b"]", b"C\x03abc"),
    "no shape": array(b")", b"C\x01a"),
    "too many sides": array(b"(K\x01K\x01K\x01K\x03t", b"C\x03abc"),
    "too many channels": array(b"K\x01K\x01K\x05\x87", b"C\x05abcde"),
    "objects in an array": array(b"K\x01K\x01K\x03\x87", b"](NNNe"),
    "text in an array": array(b"K\x01K\x01K\x03\x87", text("abc")),
    "an array of floats": array(
        b"K\x01K\x01K\x03\x87", b"C\x0caaaabbbbcccc", named("numpy", "dtype") + text("f4") + b"\x85R"
    ),
    "another codec": array(
        b"K\x01K\x01K\x03\x87", named("_codecs", "encode") + text("abc") + text("rot13") + b"\x86R"
    ),
    "letters that are no bytes": array(
        b"K\x01K\x01K\x01\x87", named("_codecs", "encode") + text("☃") + text("latin1") + b"\x86R"
    ),
    "an array of objects": array(b"K\x01K\x01K\x03\x87", b"C\x03abc", named("numpy", "dtype") + text("O8") + b"\x85R"),
    "a type with fields": array(
        b"K\x01K\x01K\x03\x87", b"C\x03abc", DTYPE + b"(K\x03" + text("|") + b"NK\x01\x85NK\x00K\x00K\x00tb"
    ),
    "no type": array(b"K\x01K\x01K\x03\x87", b"C\x03abc", b"N"),
    "one buffer argument": user(named("numpy._core.numeric", "_frombuffer") + b"C\x03abc\x85R"),
    "an unknown order": user(
        named("numpy._core.numeric", "_frombuffer") + b"(C\x03abc" + DTYPE + b"K\x01K\x01K\x03\x87" + text("X") + b"tR"
    ),
    "axes twice": user(
        named("numpy._core.numeric", "_frombuffer")
        + b"(C\x03abc" + DTYPE + b"K\x01K\x01K\x03\x87" + text("K") + b"K\x00K\x00K\x00\x87" + b"tR"
    ),
    "a picture object": user(named("PIL.PngImagePlugin", "PngImageFile") + b")\x81"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_a_list_of_messages_is_refused(name: str) -> None:
    with nothing_runs(), pytest.raises(WireError) as refused:
        decode_messages(base64_of(BROKEN[name]))
    assert 10 < len(refused.value.message) < 700
    assert refused.value.status == 400


FLOODS: dict[str, Callable[[], bytes]] = {
    "marks": lambda: stream(b"(" * 2_000_000),
    "lists in lists": lambda: stream(b"]" * 100_000, b"a" * 99_999),
    "tuples in tuples": lambda: stream(b")", b"\x85" * 200_000),
    "messages in messages": lambda: stream(MESSAGE * 10_000, b"b" * 9_999),
    "memo far out": lambda: stream(b"]", *(b"r" + struct.pack("<I", 2**32 - 1 - n) for n in range(99_999))),
    "memo without end": lambda: stream(b"]", b"\x94" * 1_000_000),
    "one list a billion times": lambda: stream(b"]\x94", *(b"](h%ch%ce\x94" % (n, n) for n in range(100))),
    "one tuple a billion times": lambda: stream(b")\x94", *(b"h%ch%c\x86\x94" % (n, n) for n in range(100))),
    "one text in many messages": lambda: stream(
        b"(", text("a" * 1_000_000), b"\x94",
        *(MESSAGE + b"}(" + text("role") + text("user") + text("content") + b"h\x00ub" for _ in range(5_000)), b"l",
    ),
    "one array in many messages": lambda: stream(
        b"]C\x00\x94", b"0", b"\x8e", struct.pack("<Q", 3_000_000), b"x" * 3_000_000, b"\x94", b"0", b"(",
        *(
            MESSAGE + b"}(" + text("role") + text("user") + text("content")
            + named("numpy._core.numeric", "_frombuffer") + b"(h\x01" + DTYPE
            + b"M\xe8\x03M\xe8\x03K\x03\x87" + text("F") + b"tRub"
            for _ in range(3_000)
        ),
        b"e",
    ),
    "empty frames": lambda: stream(b"\x95" + bytes(8), *([b"\x95" + bytes(8)] * 400_000)),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOODS)
def test_floods_are_refused_within_bounds_of_time_and_memory(name: str) -> None:
    payload = base64_of(FLOODS[name]())
    began = time.process_time()
    with nothing_runs(), pytest.raises(WireError):
        decode_messages(payload)
    assert time.process_time() - began < 8.0
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode_messages(payload)
        assert tracemalloc.get_traced_memory()[1] < 300 * 2**20
    finally:
        tracemalloc.stop()


def test_fifteen_thousand_messages_are_within_bounds() -> None:
    sent = [{"role": "user", "content": str(n)} for n in range(15_000)]
    assert len(decode_messages(base64_of(pickle.dumps(sent)))) == 15_000
    with pytest.raises(WireError, match=str(MAX_STEPS)):
        decode_messages(base64_of(pickle.dumps([dict(one) for one in sent * 3])))


@pytest.mark.parametrize("value", ["", "no base64!", "gAQ", "gAQu\n", "☃", "gAQ=gAQu", "A" * (2**20) + "=" * 4, "===="])
def test_what_is_not_strict_base64_is_refused(value: str) -> None:
    with pytest.raises(WireError):
        decode_messages(value)


def test_a_pickle_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(WireError, match="larger than 1000 bytes"):
        decode_messages("A" * 2000, max_bytes=1000)


def test_the_stand_ins_make_what_stock_pickle_would_run() -> None:
    """The seeds are real: the stock reader calls what they name."""
    with installed(), pytest.raises(AssertionError, match="is called"):
        pickle.Unpickler(io.BytesIO(pickled([Array((1, 1, 3), b"abc")], 4))).load()
    with installed():
        assert isinstance(pickle.loads(pickled(Dtype(), 4)), Dtype)
