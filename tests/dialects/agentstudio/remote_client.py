"""What AgentStudio's client sends, and what it does with an answer, written from the description of its protocol."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import requests

from tests.dialects.agentstudio.stand_ins import installed


class Refused(Exception):
    """Any status but 200. The client retries three times, and shows the body in its log."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"{response.status_code}, {response.text}")
        self.response = response


class RemoteClient:
    """``server`` is put before ``/generate`` as it is. A connection for each call, no time-out."""

    def __init__(self, server: str, protocol: int = 4, maker: str = "numpy._core") -> None:
        self.server = server
        self.protocol = protocol
        self.maker = maker

    def generate_response(self, messages: list[Any], model: str) -> tuple[str, dict[str, Any]]:
        with installed(self.maker):
            text = base64.b64encode(pickle.dumps(messages, protocol=self.protocol)).decode("utf-8")
        return self.send({"model": model, "messages": text})

    def send(self, body: Any) -> tuple[str, dict[str, Any]]:
        response = requests.post(f"{self.server}/generate", json=body)
        if response.status_code != 200:
            raise Refused(response)
        message, info = (_read(response.json()[name]) for name in ("message", "info"))
        return message, info


def _read(value: Any) -> Any:
    return pickle.loads(base64.b64decode(value.encode("utf-8"))) if isinstance(value, str) else "not a string"
