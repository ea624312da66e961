"""What clients look at before they call a model: keys, models, projects, the user, connections; and the errors."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import openai
import pytest

from tests.dialects.dataiku.clients import SINCE_15, ClientError, DataikuClient
from tests.dialects.dataiku.conftest import Run
from tests.dialects.dataiku.serving import Served

HI = """return project.get_llm({model!r}).new_completion().with_message("Hi").execute().text"""


def test_the_clients_are_those_of_the_two_series(dataiku: DataikuClient, run: Run) -> None:
    release = run("import importlib.metadata\nreturn importlib.metadata.version('dataiku-api-client')")
    assert release.startswith(f"{dataiku.series}.")


def test_models_are_listed_by_what_they_are_for(run: Run) -> None:
    chat, embed, rerank, image = run("""
        purposes = "GENERIC_COMPLETION", "TEXT_EMBEDDING_EXTRACTION", "RERANKING", "IMAGE_GENERATION"
        return [[one.id for one in project.list_llms(purpose=purpose)] for purpose in purposes]
    """)
    assert "custom:box:chat" in chat
    assert "custom:box:hidden" not in chat
    assert "custom:box:vectors" not in chat
    assert {"custom:box:vectors", "custom:builtin:lexical"} & set(embed) == {"custom:box:vectors"}
    assert rerank == ["custom:box:ranker"]
    assert image == []


def test_a_listed_model_can_be_used(run: Run) -> None:
    found = run("""
        item = [one for one in project.list_llms() if one.description == "chat"][0]
        return [item.type, item.to_llm().new_completion().with_message("Hi").execute().text]
    """)
    assert found == ["CUSTOM", "one two three ☃"]


def test_an_address_with_a_slash_at_its_end_works(run: Run, hub: Served) -> None:
    assert run(HI.format(model="chat"), url=f"{hub.url}/") == "one two three ☃"


def test_a_key_that_is_not_known_is_refused(run: Run) -> None:
    with pytest.raises(ClientError, match=r"^invalid_api_key: ") as caught:
        run(HI.format(model="chat"), key="sk-byom-wrong")
    assert "DataikuException" in caught.value.classes


def test_a_model_that_is_not_there_is_an_error_with_the_names_that_are_close(run: Run) -> None:
    with pytest.raises(ClientError, match=r"^model_not_found: There is no model 'caht' here. Did you mean 'chat'"):
        run(HI.format(model="caht"))
    with pytest.raises(ClientError, match=r"^model_not_found: "):
        run(HI.format(model="hidden"))


def test_an_error_of_the_models_server_is_the_error_of_the_query(run: Run) -> None:
    raw = run("""
        response = project.get_llm("down").new_completion().with_message("Hi").execute()
        return [response.success, response._raw]
    """)
    assert raw[0] is False
    assert raw[1]["errorType"] == "upstream_error"
    assert raw[1]["errorSource"] == "MODEL"
    with pytest.raises(ClientError, match="on fire"):
        run(HI.format(model="down"))
    with pytest.raises(ClientError, match="This input is wrong"):
        run(HI.format(model="wrong"))


def test_a_limit_is_the_error_of_the_query(run: Run) -> None:
    codes = run("""
        completions = project.get_llm("limited").new_completions()
        for number in range(3):
            completions.new_completion().with_message("Hi")
        return [one._raw.get("errorCode") for one in completions.execute().responses]
    """)
    assert codes.count("rate_limit_exceeded") >= 2


def test_who_calls_is_told(run: Run) -> None:
    found = run("""
        user = client.get_own_user().get_settings()
        info = client.get_auth_info(with_secrets=True)
        return [info["authIdentifier"], info["secrets"], user.get_raw()["login"], client.get_instance_info().node_type]
    """)
    assert found == ["ann", [], "ann", "DESIGN"]


def test_a_project_is_listed_and_any_other_key_works_as_well(run: Run) -> None:
    found = run("""
        keys = client.list_project_keys()
        own = client.get_project(keys[0])
        assert own.get_llm("chat").new_completion().with_message("Hi").execute().success
        return [keys, project.get_summary()["projectKey"], project.get_metadata()["label"], project.list_agents()]
    """)
    assert found == [["BYOM"], "ANY_PROJECT", "ANY_PROJECT", []]


def test_connections_are_for_administrators_but_their_names(run: Run, hub: Served) -> None:
    assert run("""return client.list_connections_names("all")""") == ["box", "plug"]
    with pytest.raises(ClientError, match="admin_required"):
        run("""return client.get_connection("box").get_info()""")
    code = """
        connection = client.get_connection("box")
        return [connection.get_info().get_params()["url"], connection.test()["connectionOK"]]
    """
    assert run(code, key=hub.admin_key) == [hub.upstream.base_url, True]
    with pytest.raises(ClientError, match="not_found"):
        run("""return client.get_connection("nowhere").test()""", key=hub.admin_key)


def test_other_calls_say_what_this_is(run: Run) -> None:
    with pytest.raises(ClientError, match=r"^not_found: .*BYOM hub"):
        run("""return client.list_plugins()""")


@SINCE_15
def test_conversations_are_refused_and_not_kept(run: Run) -> None:
    for code in ("project.list_llm_conversations()", 'project.get_llm("chat").create_conversation()'):
        with pytest.raises(ClientError, match=r"not_supported: .*conversation"):
            run(code)


def test_a_ticket_opens_what_a_key_opens(run: Run) -> None:
    assert run("""
        own = dataikuapi.DSSClient(url, internal_ticket=key)
        return own.get_project("P").get_llm("chat").new_completion().with_message("Hi").execute().success
    """)


@SINCE_15
def test_a_bearer_token_opens_what_a_key_opens(run: Run) -> None:
    assert run("""
        own = dataikuapi.DSSClient(url, jwt_bearer_token=key)
        return own.get_project("P").get_llm("chat").new_completion().with_message("Hi").execute().success
    """)


def ask(hub: Served, headers: dict[str, str], path: str = "/dip/publicapi/projects/P/llms") -> httpx2.Response:
    return httpx2.get(hub.url + path, headers=headers, trust_env=False)


def test_keys_are_taken_wherever_clients_put_them(hub: Served) -> None:
    basic = base64.b64encode(f"{hub.key}:".encode()).decode()
    for headers in (
        {"authorization": f"Basic {basic}"},
        {"authorization": f"Bearer {hub.key}"},
        {"x-dku-apiticket": hub.key},
    ):
        for path in (
            "/dip/publicapi/projects/P/llms",
            "/public/api/projects/P/llms",
            "//dip/publicapi//projects/P/llms/",
        ):
            assert ask(hub, headers, path).status_code == 200, (headers, path)
    for headers in ({}, {"authorization": "Basic !!!"}, {"authorization": "Digest x"}, {"x-dku-apiticket": "x"}):
        refused = ask(hub, headers)
        assert refused.status_code == 401
        assert refused.json()["errorType"] in ("invalid_api_key", "missing_api_key")


def test_acting_for_another_user_is_refused(hub: Served) -> None:
    refused = ask(hub, {"authorization": f"Bearer {hub.admin_key}", "x-dku-proxyuser": "bob"})
    assert refused.status_code == 400
    assert "X-DKU-ProxyUser" in refused.json()["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"llmId": "chat"}', b'{"llmId": "chat", "queries": [1]}', b"{}"])
def test_a_body_that_is_none_is_an_error_object(hub: Served, body: bytes) -> None:
    url = f"{hub.url}/dip/publicapi/projects/P/llms/completions"
    answer = httpx2.post(url, content=body, headers={"authorization": f"Bearer {hub.key}"}, trust_env=False)
    assert answer.status_code == 400
    assert set(answer.json()) == {"errorType", "message", "detailedMessage"}


def test_a_wrong_method_and_a_wrong_path_are_error_objects(hub: Served) -> None:
    headers: dict[str, Any] = {"authorization": f"Bearer {hub.key}"}
    assert ask(hub, headers, "/dip/publicapi/projects/P/llms/completions").status_code == 405
    assert ask(hub, headers, "/dip/publicapi/nothing").json()["errorType"] == "not_found"


def test_the_openai_interface_of_a_project_is_that_of_the_hub(hub: Served) -> None:
    base = f"{hub.url}/public/api/projects/P/llms/openai/v1/"
    with openai.OpenAI(base_url=base, api_key=hub.key, http_client=openai.DefaultHttpxClient(trust_env=False)) as sdk:
        question: Any = [{"role": "user", "content": "Hi"}]
        answer = sdk.chat.completions.create(model="custom:box:chat", messages=question)
        assert answer.choices[0].message.content == "one two three ☃"
        stream = sdk.chat.completions.create(model="custom:box:chat", messages=question, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "one two three ☃"
        assert "chat" in [model.id for model in sdk.models.list()]
        with pytest.raises(openai.NotFoundError, match="Did you mean"):
            sdk.chat.completions.create(model="caht", messages=question)


def test_no_prompt_no_answer_and_no_key_is_written_down(run: Run, hub: Served) -> None:
    run("""
        for model in ("echo", "down", "fails-midway"):
            completion = project.get_llm(model).new_completion().with_message("canary-of-a-prompt")
            completion.execute()
            try:
                list(completion.execute_streamed())
            except Exception:
                pass
    """)
    assert any(b"canary-of-a-prompt" in request.body for request in hub.upstream.requests)
    for path in hub.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in (b"canary-of-a-prompt", b"on fire", b"a-password", hub.key.encode()):
                assert secret not in content, (path.name, secret)
