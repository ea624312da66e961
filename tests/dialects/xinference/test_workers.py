"""A hub of several processes: a call is aborted whichever of them has it, and a launch holds in all."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from tests.dialects.xinference.serving import llm_spec, served


@pytest.mark.parametrize("workers", [1, 2])
def test_an_abort_finds_the_call_and_a_launch_serves_in_every_process(tmp_path: Path, workers: int) -> None:
    with served(tmp_path / "home", tmp_path / "weights", workers=workers) as hub:
        headers = {"authorization": f"Bearer {hub.admin_key}"}
        body = {"model": "remote-endless", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        for number in range(6):
            call = {**body, "request_id": f"call-{number}"}
            # Connections of their own reach either process.
            with httpx2.stream(
                "POST", f"{hub.url}/v1/chat/completions", headers=headers, json=call, trust_env=False
            ) as stream:
                pieces = stream.iter_lines()
                next(pieces)
                answer = httpx2.post(
                    f"{hub.url}/v1/models/remote-endless/requests/call-{number}/abort",
                    headers=headers,
                    json={"block_duration": 0},
                    trust_env=False,
                )
                assert answer.json() == {"msg": "DONE"}
                assert "request_aborted" in "".join(pieces)
        with httpx2.Client(base_url=hub.url, headers=headers, trust_env=False, timeout=60) as http:
            spec = json.dumps(llm_spec(hub.weights, "tiny"))
            assert http.post("/v1/model_registrations/LLM", json={"model": spec, "persist": False}).json() is None
            assert http.post("/v1/models", json={"model_name": "tiny"}).json() == {"model_uid": "tiny"}
            for _ in range(6):
                told = httpx2.post(
                    f"{hub.url}/v1/completions",
                    headers=headers,
                    json={"model": "tiny", "prompt": "A", "max_tokens": 2},
                    trust_env=False,
                    timeout=30,
                )
                assert told.json()["usage"]["completion_tokens"] in (1, 2), told.text
            assert http.delete("/v1/models/tiny").status_code == 200
