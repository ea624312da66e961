"""Requests of every age of AgentStudio are read, without anything that they name."""

from __future__ import annotations

import base64
import json
import pathlib
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.models.agentstudio.errors import WireError
from byom.models.agentstudio.messages import FileContent, Message
from byom.models.agentstudio.pixels import Pixels
from byom.models.agentstudio.wire import decode_messages, decode_reply, encode_messages, encode_reply
from tests.dialects.agentstudio.stand_ins import ERAS, NUMPYS, PROTOCOLS, Array, installed, message, pickled

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())


def encoded(value: Any, protocol: int = 4, maker: str = "numpy._core") -> str:
    return base64.b64encode(pickled(value, protocol, maker)).decode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("maker", NUMPYS)
@pytest.mark.parametrize("era", ERAS)
def test_each_era_protocol_and_numpy_is_read(era: str, maker: str, protocol: int) -> None:
    data = bytes(range(2 * 3 * 3))
    screen = Array((2, 3, 3), data)
    sent = [
        message(era, "system", "You see a screen. ☃"),
        message(era, "user", "The task"),
        message(era, "user", screen),
        message(era, "assistant", "```python\nexit()\n```"),
        message(era, "user", screen),
    ]
    pixels = Pixels(2, 3, 3, data)
    assert decode_messages(encoded(sent, protocol, maker)) == [
        Message("system", "You see a screen. ☃"),
        Message("user", "The task"),
        Message("user", pixels),
        Message("assistant", "```python\nexit()\n```"),
        Message("user", pixels),
    ]


@pytest.mark.parametrize("name", RECORDED)
def test_what_real_numpy_and_python_wrote_is_read(name: str) -> None:
    """Recorded from numpy 1.26 and 2.4 in every protocol: C and Fortran order, turned, cut, grey, with alpha."""
    case = RECORDED[name]
    for protocol, text in case["payloads"].items():
        (read,) = decode_messages(text)
        content = read.content
        assert isinstance(content, Pixels), protocol
        assert [content.height, content.width, content.channels] == case["shape"], protocol
        assert content.data.hex() == case["pixels"], protocol


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["system", "user", "assistant"]),
            st.one_of(
                st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
                st.builds(
                    lambda height, width, channels, seed: Array(
                        (height, width, channels), bytes((seed + n) % 256 for n in range(height * width * channels))
                    ),
                    st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]), st.integers(0, 255),
                ),
            ),
        ),
        min_size=1, max_size=12,
    ),
    st.sampled_from(list(ERAS)), st.sampled_from(PROTOCOLS), st.sampled_from(NUMPYS),
)  # fmt: skip
def test_whatever_is_sent_arrives(sent: list[tuple[str, Any]], era: str, protocol: int, maker: str) -> None:
    read = decode_messages(encoded([message(era, role, content) for role, content in sent], protocol, maker))
    assert [one.role for one in read] == [role for role, _ in sent]
    for one, (_, content) in zip(read, sent, strict=True):
        if isinstance(content, Array):
            assert isinstance(one.content, Pixels)
            assert (one.content.height, one.content.width, one.content.channels) == content.shape
            assert one.content.data == content.data
        else:
            assert one.content == content


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 4]), st.booleans(), st.sampled_from(PROTOCOLS))
def test_arrays_in_fortran_order_are_turned_to_rows(
    height: int, width: int, channels: int, gaps: bool, protocol: int
) -> None:
    pixel = {
        (y, x, c): (y * 50 + x * 7 + c) % 256 for y in range(height) for x in range(width) for c in range(channels)
    }
    columns = bytes(pixel[y, x, c] for c in range(channels) for x in range(width) for y in range(height))
    rows = bytes(pixel[y, x, c] for y in range(height) for x in range(width) for c in range(channels))
    sent = [message("current", "user", Array((height, width, channels), columns, "F", gaps))]
    assert decode_messages(encoded(sent, protocol)) == [Message("user", Pixels(height, width, channels, rows))]


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(0, 2**60), max_size=5),
)
def test_stock_pickle_reads_our_replies_and_we_read_its(text: str, info: dict[str, int]) -> None:
    ours = encode_reply(text, info)
    assert pickle.loads(base64.b64decode(ours["message"])) == text
    assert pickle.loads(base64.b64decode(ours["info"])) == info
    assert decode_reply(ours["message"], ours["info"]) == (text, info)
    for protocol in PROTOCOLS:
        stock = [base64.b64encode(pickle.dumps(value, protocol)).decode() for value in (text, info)]
        assert decode_reply(*stock) == (text, info)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), min_size=1, max_size=5))
def test_stock_pickle_reads_our_requests(texts: list[str]) -> None:
    sent = [Message("user", text) for text in texts] + [Message("user", Pixels(2, 2, 3, bytes(range(12))))]
    with installed():
        *read, image = pickle.loads(base64.b64decode(encode_messages(sent)))
    assert [(one.role, one.content) for one in read] == [("user", text) for text in texts]
    assert type(image).__module__ == "agent_studio.utils.types"
    assert (image.content.shape, image.content.data) == ((2, 2, 3), bytes(range(12)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_paths_are_read_as_text(protocol: int) -> None:
    sent = [message("current", "user", pathlib.PurePosixPath("/data/images/1.png"))]
    assert decode_messages(encoded(sent, protocol)) == [Message("user", FileContent("/data/images/1.png"))]


def test_values_of_a_reply_that_nobody_needs_are_left_out() -> None:
    text, info = (
        base64.b64encode(pickle.dumps(value)).decode()
        for value in ("hello", {"total_tokens": None, "prompt_tokens": 3, "deep": [[]], "cost": 0.5, "x": float("nan")})
    )
    assert decode_reply(text, info) == ("hello", {"prompt_tokens": 3, "cost": 0.5})


def test_half_characters_are_refused_in_requests_and_replaced_in_replies() -> None:
    with pytest.raises(WireError, match="surrogate"):
        encode_messages([Message("user", "\ud800")])
    assert decode_reply(*encode_reply("a\ud800b", {}).values()) == ("a?b", {})


def test_reading_imports_nothing_that_the_bytes_name() -> None:
    """Neither numpy nor AgentStudio need be there."""
    sent = encoded([message("current", "user", Array((1, 1, 3), b"abc"))])
    before = set(sys.modules)
    decode_messages(sent)
    assert {name for name in set(sys.modules) - before if name.startswith(("numpy", "agent_studio"))} == set()
