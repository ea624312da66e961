"""The worker runs in the environment of the code, under any Python from 3.9 on."""

from __future__ import annotations

import pytest

from tests.host.code.conftest import ask, error_of, text_of
from tests.host.interpreters import found, interpreter


@pytest.mark.parametrize("version", found())
async def test_the_worker_runs_under_another_python(host, version):
    python = interpreter(version)
    async with host(python=python).client() as http:
        assert text_of(await ask(http, "say hello")) == "hello"
        assert text_of(await ask(http, "block 0.05", model="async")) == "same True"
        assert text_of(await ask(http, "block 0.05", model="async")) == "other False"
        assert text_of(await ask(http, "await 0.01", model="async")) == "other False"
        assert "ValueError" in error_of(await ask(http, "fail x"))["message"]
        assert text_of(await ask(http, "version")) == version


async def test_an_interpreter_that_is_not_there_is_a_clear_error(host):
    async with host(python="/nowhere/python").client() as http:
        answer = await ask(http, "say x")
        assert error_of(answer)["code"] == "model_failed"
        assert "exit code 127" in error_of(answer)["message"] or "/nowhere/python" in error_of(answer)["message"]
