"""Which requests below ``/v1`` go where: Xinference's routes of management to the dialect, all others as before."""

from __future__ import annotations

import httpx2
import openai
import pytest

from byom.gateway.http.inbound import is_gateway
from byom.gateway.paths import is_management
from byom.server.dialects.xinference.routes import _TABLE
from tests.dialects.xinference.serving import Served

OF_THE_GATEWAY = (
    "POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings", "POST /v1/rerank", "GET /v1/models",
    "GET /v1/models/gpt-4", "GET /v1/models/box/gpt-4", "GET /v1/models/progress", "GET /v1/models?limit=3",
    "POST /v1/responses", "GET /v1/files", "POST /v1/files", "DELETE /v1/files/f1", "POST /v1/batches",
    "GET /v1/fine_tuning/jobs", "POST /v1/images/generations", "POST /v1/audio/speech", "POST /v1/moderations",
    "GET /v1/assistants", "GET /v1/vector_stores", "POST /v1/messages", "GET /v1/clusterfuzz", "POST /v1/modelsets",
)  # fmt: skip
OF_THE_DIALECT = (
    "GET /v1/cluster/auth", "POST /v1/models", "POST /v1/models?wait_ready=False", "DELETE /v1/models/m",
    "GET /v1/models/instances?model_uid=m", "GET /v1/models/vllm-supported", "GET /v1/models/m/progress",
    "POST /v1/models/m/cancel", "GET /v1/models/m/replicas", "POST /v1/models/m/replicas",
    "DELETE /v1/models/m/replicas/1", "POST /v1/models/m/requests/r/abort", "GET /v1/requests/r/progress",
    "GET /v1/model_registrations/LLM?detailed=true", "POST /v1/model_registrations/LLM",
    "DELETE /v1/model_registrations/LLM/m", "GET /v1/engines/m", "GET /v1/engines/LLM/m", "GET /v1/cache/models",
    "DELETE /v1/cache/models?model_version=v", "GET /v1/address", "GET /v1/workers", "GET /v1/supervisor",
    "DELETE /v1/clusters", "GET /v1/models/m/reload", "GET /v1/autostart/models", "GET /v1/worker-relaunches",
)  # fmt: skip


@pytest.mark.parametrize("line", OF_THE_GATEWAY)
def test_routes_of_the_gateway_stay_with_it(line: str) -> None:
    head = f"{line} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    assert is_gateway(head) is True
    # However few bytes of it have come: never to the dialect.
    assert all(is_gateway(head[:size]) is not False for size in range(1, len(head)))


@pytest.mark.parametrize("line", OF_THE_DIALECT)
def test_routes_of_the_dialect_are_handed_over_when_the_request_line_is_there(line: str) -> None:
    head = f"{line} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    assert is_gateway(head) is False
    sizes = range(1, len(line))
    assert all(is_gateway(head[:size]) is None for size in sizes)


def test_every_route_of_the_dialect_below_v1_is_handed_over() -> None:
    for route in _TABLE:
        path = route.pattern.replace("([^/]+)", "x").replace("(LLM|embedding|rerank|[A-Za-z]+)", "LLM")
        if path.startswith("/v1/"):
            assert is_management(f"{route.method} {path} ".encode()), path


def test_openais_sdk_lists_models_and_calls_them_as_before(hub: Served) -> None:
    with openai.OpenAI(base_url=f"{hub.url}/v1", api_key=hub.key) as sdk:
        listed = {model.id: model for model in sdk.models.list()}
        assert {"tiny", "remote-chat"} <= listed.keys()
        assert listed["tiny"].object == "model"
        assert listed["remote-chat"].owned_by == "box"
        assert sdk.models.retrieve("tiny").id == "tiny"
        answer = sdk.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=3
        )
        assert answer.usage is not None
        assert 1 <= answer.usage.completion_tokens <= 3
        with pytest.raises(openai.PermissionDeniedError):
            sdk.models.delete("tiny")
        with pytest.raises(openai.NotFoundError, match="Did you mean"):
            sdk.models.retrieve("tinny")


def test_a_route_of_an_upstream_that_is_called_alike_is_reached_by_naming_the_connection(hub: Served) -> None:
    headers = {"authorization": f"Bearer {hub.admin_key}", "x-byom-connection": "box"}
    answer = httpx2.get(f"{hub.url}/v1/engines/some", headers=headers, trust_env=False)
    assert hub.upstream.requests[-1].path.endswith("/engines/some"), answer.text


def test_what_is_not_there_is_told_to_those_with_a_key_only(hub: Served) -> None:
    assert hub.get("/v1/autostart/models").status_code == 404
    assert "Xinference" in hub.get("/v1/autostart/models").json()["detail"]
    assert httpx2.get(f"{hub.url}/v1/autostart/models", trust_env=False).status_code == 401
    headers = {"authorization": f"Bearer {hub.admin_key}"}
    wrong = httpx2.put(f"{hub.url}/v1/model_registrations/LLM", headers=headers, trust_env=False)
    assert wrong.status_code == 405


def test_keepalive_connections_pass_from_the_gateway_to_the_dialect(hub: Served) -> None:
    headers = {"authorization": f"Bearer {hub.admin_key}"}
    with httpx2.Client(base_url=hub.url, headers=headers, trust_env=False) as http:
        for _ in range(2):
            body = {"model": "remote-chat", "messages": [{"role": "user", "content": "Hi"}]}
            assert http.post("/v1/chat/completions", json=body).status_code == 200
            assert http.get("/v1/models/tiny/progress").json()["progress"] == 1.0
            assert http.get("/v1/models").status_code == 200
