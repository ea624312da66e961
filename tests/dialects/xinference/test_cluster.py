"""The handshake, the login, and what clients ask of the cluster."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from byom import __version__
from tests.dialects.xinference.clients import ClientError, XinferenceClient
from tests.dialects.xinference.conftest import Run
from tests.dialects.xinference.serving import Served

OF_ADMINISTRATORS = (
    ("GET", "/v1/address"), ("GET", "/v1/workers"), ("GET", "/v1/supervisor"), ("DELETE", "/v1/clusters"),
    ("GET", "/v1/cluster/info"), ("GET", "/v1/cluster/devices"), ("POST", "/v1/models"),
    ("DELETE", "/v1/models/tiny"), ("GET", "/v1/models/instances"), ("GET", "/v1/models/tiny/progress"),
    ("POST", "/v1/models/tiny/cancel"), ("GET", "/v1/models/tiny/replicas"), ("POST", "/v1/models/tiny/replicas"),
    ("DELETE", "/v1/models/tiny/replicas/0"), ("GET", "/v1/models/tiny/events"),
    ("GET", "/v1/model_registrations/LLM"), ("POST", "/v1/model_registrations/LLM"),
    ("GET", "/v1/model_registrations/LLM/tiny"), ("DELETE", "/v1/model_registrations/LLM/tiny"),
    ("GET", "/v1/engines/tiny"), ("GET", "/v1/engines/LLM/tiny"), ("GET", "/v1/cache/models"),
    ("GET", "/v1/cache/models/files"), ("DELETE", "/v1/cache/models"), ("GET", "/v1/models/vllm-supported"),
)  # fmt: skip


def test_a_login_with_a_key_as_password_may_manage(run: Run, hub: Served) -> None:
    names = run(
        """
        client.login("anybody", password)
        return [sorted(client.list_models()), client.list_model_registrations("rerank")]
        """,
        key=None,
        password=hub.admin_key,
    )
    assert "tiny" in names[0]
    assert names[1] == [{"model_name": "ranker", "is_builtin": False}]


def test_a_wrong_password_and_no_key_are_told(run: Run) -> None:
    with pytest.raises(ClientError, match=r"Failed to login, detail: .*API key"):
        run("""client.login("anybody", "secret")""", key=None)
    with pytest.raises(ClientError, match="detail: No API key was given"):
        run("return client.list_models()", key=None)
    with pytest.raises(ClientError, match=r"detail: .*API key"):
        run("""return client.launch_model("tiny")""", key="sk-nothing")


@pytest.mark.parametrize(("method", "path"), OF_ADMINISTRATORS)
def test_management_needs_the_key_of_an_administrator(hub: Served, method: str, path: str) -> None:
    for key, status in ((None, 401), (hub.key, 403)):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        answer = httpx2.request(method, hub.url + path, headers=headers, trust_env=False)
        assert answer.status_code == status
        assert answer.json()["detail"] == answer.json()["error"]["message"]
    assert answer.headers["content-type"] == "application/json"


def test_the_cluster_tells_of_itself(run: Run, hub: Served) -> None:
    address, supervisor, workers, families = run("""
        return [client._get_supervisor_internal_address(), client.get_supervisor_info(), client.get_workers_info(),
                client.vllm_models()]
    """)
    assert hub.url.endswith(address)
    assert supervisor == {"supervisor_ip": address}
    assert workers[0]["work-ip"] == address
    assert "tiny" in workers[0]["models"]
    assert isinstance(families, dict)
    assert hub.get("/v1/cluster/version").json()["version"] == __version__
    assert isinstance(hub.get("/v1/cluster/devices").json(), int)
    assert hub.get("/v1/cluster/info").json()[0]["node_type"] == "Supervisor"
    assert [one["event_content"] for one in hub.get("/v1/models/tiny/events").json()][-1] == "Ready"


def test_a_client_does_not_stop_the_hub(run: Run) -> None:
    with pytest.raises(ClientError, match="A hub is stopped where it was started"):
        run("return client.abort_cluster()")


def test_status_and_auth_are_open_and_tell_nothing(hub: Served) -> None:
    status = httpx2.get(f"{hub.url}/status", trust_env=False).json()
    assert status["uptime"] > 0
    assert status["workers"] == {}
    assert httpx2.get(f"{hub.url}/v1/cluster/auth", trust_env=False).json() == {"auth": True}


def test_an_address_with_a_slash_at_its_end_is_the_same(run: Run, hub: Served) -> None:
    names = run("return sorted(client.list_models())", url=hub.url + "/")
    assert "tiny" in names
    registered = run("""return client.list_model_registrations("rerank")""", url=hub.url + "/")
    assert registered == [{"model_name": "ranker", "is_builtin": False}]


def test_a_hub_without_keys_asks_for_none(tmp_path: Path, clients: object) -> None:
    from tests.dialects.xinference.clients import xinference_client
    from tests.dialects.xinference.open_hub import open_hub

    with open_hub(tmp_path / "home") as url, xinference_client(4) as client:
        assert isinstance(client, XinferenceClient)
        code = """
            client.login("anybody", "anything")
            return [sorted(client.list_models()), client.list_model_registrations("rerank")]
        """
        assert client.run(code, url=url) == [["extractive", "lexical"], []]
