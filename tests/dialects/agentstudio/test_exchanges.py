"""Requests that AgentStudio's own client wrote, of every era, in every protocol, with numpy 1.26 and 2.4.

The first word of a name is the commit of AgentStudio: ``17d4d08`` and ``e4ea3e9`` send dicts, ``78679c4`` and
``91fa3f4`` the class ``PromptSeg`` from two places, ``1653794`` and ``d7f6cb5`` the class ``Message``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from byom.models.agentstudio.messages import Message
from byom.models.agentstudio.pixels import Pixels
from byom.models.agentstudio.wire import decode_messages
from tests.dialects.agentstudio.conftest import ANSWER, HubBefore
from tests.dialects.agentstudio.remote_client import RemoteClient
from tests.dialects.agentstudio.test_hub import in_path, of_uri
from tests.dialects.agentstudio.watch import nothing_runs

EXCHANGES = json.loads((Path(__file__).parent / "exchanges.json").read_text())
PIXELS = bytes(range(18))


def test_every_era_and_protocol_is_recorded() -> None:
    assert len(EXCHANGES) == 6 * 2 * 4


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_recorded_request_is_read(name: str) -> None:
    with nothing_runs():
        read = decode_messages(EXCHANGES[name]["messages"])
    assert read == [
        Message("system", "You are an agent."),
        Message("user", "[Observation]: \n"),
        Message("user", Pixels(2, 3, 3, PIXELS)),
        Message("assistant", ANSWER),
    ]


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_recorded_request_is_answered(hub: HubBefore, name: str) -> None:
    hub.forget()
    text, info = RemoteClient(in_path(hub)).send(EXCHANGES[name])
    assert (text, info) == (ANSWER, {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15})
    (request,) = hub.upstream.wait_for_requests_sync()
    system, user, assistant = request.fields()["messages"]
    assert (system["content"], user["content"][0]["text"]) == ("You are an agent.", "[Observation]: \n")
    assert assistant == {"role": "assistant", "content": ANSWER}
    with Image.open(io.BytesIO(of_uri(user["content"][1]["image_url"]["url"]))) as image:
        assert (image.size, image.tobytes()) == ((3, 2), PIXELS)
