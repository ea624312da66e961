"""The unmodified ``xinference-client`` of three ages, each in a folder of its own with what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.client_program import ClientProgram, client_program
from tests.dialects.older_clients import folder_of

PROGRAM = Path(__file__).with_name("program.py")
SERIES = (0, 1, 4)
"""0.16, 1.16 and the current one."""
SINCE_1 = pytest.mark.parametrize("xinference", [1, 4], indirect=True)
SINCE_4 = pytest.mark.parametrize("xinference", [4], indirect=True)
ANSWER_SECONDS = 120.0


class ClientError(Exception):
    """What the client raised. ``kind``: the name of its class."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


class XinferenceClient:
    """Runs code with one release of the client, in a process of its own."""

    def __init__(self, program: ClientProgram, series: int) -> None:
        self._program = program
        self.series = series

    def run(self, code: str, **given: Any) -> Any:
        """What the code returns, through JSON. Raises `ClientError` with what it raised."""
        answer = self._program.ask(code=code, given=given)
        if "kind" in answer:
            raise ClientError(answer["text"], answer["kind"])
        return answer["result"]


@contextmanager
def xinference_client(series: int) -> Iterator[XinferenceClient]:
    folder = folder_of(f"xinference-{series}")
    with client_program(PROGRAM, folder=folder, seconds=ANSWER_SECONDS) as program:
        yield XinferenceClient(program, series)
