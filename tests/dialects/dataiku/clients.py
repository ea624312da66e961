"""The unmodified ``dataiku-api-client``: the current release, and one of the series 14 in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.client_program import ClientProgram, client_program
from tests.dialects.older_clients import folder_of

PROGRAM = Path(__file__).with_name("program.py")
SERIES = (14, 15)
SINCE_15 = pytest.mark.parametrize("dataiku", SERIES[1:], indirect=True)
"""For what came with release 15."""
ANSWER_SECONDS = 60.0


class ClientError(Exception):
    """What the client raised. ``classes``: the names of its class and of those above it."""

    def __init__(self, text: str, classes: list[str]) -> None:
        super().__init__(text)
        self.classes = classes


class DataikuClient:
    """Runs code with one release of the client, in a process of its own."""

    def __init__(self, program: ClientProgram, series: int) -> None:
        self._program = program
        self.series = series

    def run(self, code: str, *, url: str, key: str) -> Any:
        """What the code returns, through JSON. Raises `ClientError` with what it raised."""
        answer = self._program.ask(code=code, url=url, key=key)
        if "classes" in answer:
            raise ClientError(answer["text"], answer["classes"])
        return answer["result"]


@contextmanager
def dataiku_client(series: int) -> Iterator[DataikuClient]:
    folder = folder_of("dataiku-14") if series == 14 else None
    with client_program(PROGRAM, folder=folder, seconds=ANSWER_SECONDS) as program:
        yield DataikuClient(program, series)
