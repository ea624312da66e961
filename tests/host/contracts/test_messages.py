"""Messages and images between OpenAI's form and AgentStudio's."""

from __future__ import annotations

import base64
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from byom.host.worker.contract import CallError
from byom.host.worker.contracts.messages import Message, intermediate, openai_messages
from byom.llm import BaseModel
from tests.host.contracts.pictures import PIXELS, data_uri, image_part

USER = [{"role": "user", "content": "?"}]


def test_results_of_tools_become_text_of_the_user() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "7 degrees"},
    ]
    assert intermediate(messages) == [
        {"role": "assistant", "content": 'weather({"city": "Oslo"})'},
        {"role": "user", "content": "7 degrees"},
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "video_url", "video_url": {"url": "x"}},
        {"type": "text"},
        7,
    ],
)
def test_audio_and_files_are_refused_by_their_place(part: Any) -> None:
    with pytest.raises(CallError, match=r"messages\[1\]\.content\[1\]") as caught:
        intermediate([*USER, {"role": "user", "content": [{"type": "text", "text": "x"}, part]}])
    assert (caught.value.status, caught.value.code) == (400, "unsupported_content")


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("GIF", "P"), ("WEBP", "RGB")]
)
def test_images_of_every_kind_become_rgb_arrays(kind: str, mode: str) -> None:
    message = intermediate([{"role": "user", "content": [image_part(data_uri(kind, mode))]}])[0]
    assert (message.content.shape, message.content.dtype) == ((3, 2, 3), np.uint8)
    if kind == "PNG" and mode != "L":
        assert np.array_equal(message.content, PIXELS)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://example.org/x.png", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        (None, "must be a data URI"),
        ("data:image/png,abc", "in base64"),
        ("data:image/png;base64,***", "not valid base64"),
        ("data:image/png;base64,AAAA", "no picture that can be read"),
        ("data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 40).decode(), "no picture"),
    ],
)
def test_what_is_no_image_is_refused_by_its_place(url: Any, message: str) -> None:
    with pytest.raises(CallError, match=message) as caught:
        intermediate([{"role": "user", "content": [image_part(url)]}])
    assert caught.value.status == 400
    assert "messages[0].content[0]" in caught.value.message


def test_without_the_packages_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    request = [{"role": "user", "content": [image_part(data_uri())]}]
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(CallError, match=r"lacks PIL.*uv pip install --python .* numpy pillow"):
        intermediate(request)


def test_a_message_is_read_and_written_in_both_ways() -> None:
    message = Message(role="user", content="x")
    assert (message.role, message["role"], dict(message)) == ("user", "user", {"role": "user", "content": "x"})
    message.content = "y"
    assert message["content"] == "y"
    with pytest.raises(AttributeError, match="no 'name'"):
        _ = message.name
    assert getattr(message, "name", None) is None


# --- our base


def test_the_base_composes_openais_messages(tmp_path: Any) -> None:
    picture = tmp_path / "p.png"
    Image.fromarray(PIXELS).save(picture)
    given = [
        Message(role="system", content="S"),
        Message(role="user", content="a"),
        Message(role="user", content=PIXELS),
        Message(role="user", content=picture),
        Message(role="assistant", content="b"),
        Message(role="assistant", content="c"),
    ]
    made = BaseModel().compose_messages(given)
    assert [message["role"] for message in made] == ["system", "user", "assistant"]
    assert (made[0]["content"], made[2]["content"]) == ("S", "b\nc")
    assert [part["type"] for part in made[1]["content"]] == ["text", "image_url", "image_url"]
    back = intermediate(made)
    assert np.array_equal(back[2].content, PIXELS)
    assert np.array_equal(back[3].content, PIXELS)


def test_the_base_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="BaseModel has no generate_response"):
        BaseModel().generate_response([])
    with pytest.raises(ValueError, match="text or an image"):
        openai_messages([{"role": "user", "content": None}])
