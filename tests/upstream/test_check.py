from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from byom.types.target import NetworkPolicy
from byom.upstream.check import check
from byom.upstream.network import Resolver
from byom.upstream.problems import Problem
from byom.upstream.report import CheckReport
from byom.upstream.servers import parse_models
from tests.upstream.certificates import server_context
from tests.upstream.small_server import Got, Reply, model_list, small_server


def only_problem(report: CheckReport) -> Problem:
    errors = [problem for problem in report.problems if problem.level == "error"]
    assert len(errors) == 1, report.problems
    assert not report.ok
    assert errors[0].message
    assert errors[0].hint
    return errors[0]


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/models"])
async def test_every_usual_form_of_the_url_finds_the_same_base(suffix: str) -> None:
    async with small_server({"/v1/models": model_list("nsql-2B", max_model_len=2048, owned_by="vllm")}) as server:
        report = await check(server.url + suffix, models=["nsql-2B"])
    assert report.ok, report.problems
    assert report.base_url == f"{server.url}/v1"
    assert report.server == "vLLM"
    assert [(model.id, model.context_window) for model in report.models] == [("nsql-2B", 2048)]
    assert report.latency_ms is not None
    assert report.paid_calls == 0
    assert all(got.method == "GET" for got in server.got)


async def test_a_base_without_a_version_and_a_prefix_are_found() -> None:
    async with small_server({"/proxy/v1/models": model_list("m")}) as server:
        assert (await check(f"{server.url}/proxy")).base_url == f"{server.url}/proxy/v1"
    async with small_server({"/models": model_list("m")}) as server:
        assert (await check(server.url)).base_url == server.url


async def test_a_bare_host_is_checked_by_http_and_then_by_https(tmp_path: Path) -> None:
    async with small_server({"/v1/models": model_list("m")}) as server:
        assert (await check(f"127.0.0.1:{server.port}")).base_url == f"{server.url}/v1"
    context, trust = server_context(tmp_path)
    async with small_server({"/v1/models": model_list("m")}, tls=context) as server:
        report = await check(f"127.0.0.1:{server.port}", ca_file=str(trust))
    assert report.ok, report.problems
    assert report.base_url == f"https://127.0.0.1:{server.port}/v1"


async def test_the_key_is_sent_as_a_bearer_token_and_noted_when_nobody_asks_for_it() -> None:
    async with small_server({"/v1/models": model_list("m")}) as server:
        report = await check(server.url, key="sk-canary-123456")
    assert server.got[0].headers["authorization"] == "Bearer sk-canary-123456"
    assert "authorization" not in server.got[1].headers
    assert report.ok
    assert [problem.code for problem in report.problems] == ["key_not_tested"]
    assert report.key_needed is False


def guarded(got: Got) -> Reply:
    if got.headers.get("authorization") == "Bearer sk-right-key":
        return model_list("m")
    return Reply(401, {"error": {"message": f"bad key {got.headers.get('authorization', '')}"}})


async def test_a_right_key_is_accepted_and_known_to_be_needed() -> None:
    async with small_server({"/v1/models": guarded}) as server:
        report = await check(server.url, key="sk-right-key")
    assert report.ok
    assert report.key_needed is True
    assert report.problems == []


async def test_unauthorized_says_whether_a_key_was_sent_and_never_shows_it() -> None:
    async with small_server({"/v1/models": guarded}) as server:
        without = only_problem(await check(server.url))
        wrong = only_problem(await check(server.url, key="sk-wrong-secret-1"))
    assert (without.code, wrong.code) == ("unauthorized", "unauthorized")
    assert without.details["key_sent"] is False
    assert "none was given" in without.message
    assert "--key" in without.hint
    assert wrong.details["key_sent"] is True
    assert "rejected the key" in wrong.message
    assert "wrong-secret" not in repr(wrong)


async def test_refused_says_the_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    problem = only_problem(await check(f"http://127.0.0.1:{port}/v1"))
    assert problem.code == "refused"
    assert str(port) in problem.message


async def test_an_unknown_name_is_a_dns_problem() -> None:
    def lookup(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    problem = only_problem(await check("https://no-such-host.example/v1", resolver=Resolver(lookup=lookup)))
    assert problem.code == "dns"
    assert "no-such-host.example" in problem.message


async def test_not_found_lists_every_url_that_was_tried() -> None:
    async with small_server({}) as server:
        problem = only_problem(await check(f"{server.url}/v1"))
    assert problem.code == "not_found"
    assert problem.details["tried"][:2] == [f"{server.url}/v1/models", f"{server.url}/models"]
    assert f"{server.url}/v1/models" in problem.message


async def test_an_unknown_model_comes_with_the_names_of_the_server_close_ones_first() -> None:
    answers = {"/v1/models": model_list("zephyr", "meta-llama/Llama-3.1-8B-Instruct", "mistral")}
    async with small_server(answers) as server:
        problem = only_problem(await check(server.url, models=["llama-3.1-8b-instruct"]))
    assert problem.code == "unknown_model"
    assert problem.details["available"] == ["meta-llama/Llama-3.1-8B-Instruct", "zephyr", "mistral"]
    assert "Did you mean 'meta-llama/Llama-3.1-8B-Instruct'?" in problem.hint


async def test_an_implied_latest_tag_is_no_unknown_model() -> None:
    async with small_server({"/v1/models": model_list("qwen3:latest", owned_by="library")}) as server:
        report = await check(server.url, models=["qwen3"])
    assert report.ok
    assert report.server == "Ollama"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<html><head><title>Open WebUI</title></head></html>", "Open WebUI"),
        ({"hello": "world"}, "hello"),
        ({"data": [1, 2]}, "not a list of models"),
        (b"", "empty body"),
    ],
)
async def test_an_answer_of_another_shape_is_not_openai_and_shown_in_short(body: Any, shown: str) -> None:
    reply = Reply(200, body)
    async with small_server({"/v1/models": reply, "/models": reply}) as server:
        problem = only_problem(await check(server.url))
    assert problem.code == "not_openai"
    assert shown in problem.message


async def test_a_page_at_the_root_does_not_hide_the_api_below() -> None:
    async with small_server({"/models": Reply(200, "<html>"), "/v1/models": model_list("m")}) as server:
        report = await check(f"{server.url}/chat/completions")
    assert report.base_url == f"{server.url}/v1"


async def test_a_silent_server_is_a_timeout() -> None:
    async with small_server({"/v1/models": Reply(hang=True)}) as server:
        problem = only_problem(await check(server.url, timeout=0.2))
    assert problem.code == "timeout"
    assert "0.2 s" in problem.message


async def test_a_failing_server_is_a_server_error_with_its_words() -> None:
    loading = Reply(503, {"error": {"message": "Loading model"}})
    async with small_server({"/v1/models": loading}) as server:
        problem = only_problem(await check(server.url))
    assert problem.code == "server_error"
    assert "Loading model" in problem.message
    assert "still loading" in problem.hint


async def test_a_redirect_is_shown_and_not_followed() -> None:
    away = Reply(307, b"", headers={"location": "http://169.254.169.254/latest/meta-data?token=x"})
    async with small_server({"/v1/models": away}) as server:
        problem = only_problem(await check(server.url, key="sk-right-key"))
    assert problem.code == "redirect"
    assert "http://169.254.169.254/latest/meta-data" in problem.message
    assert len(server.got) == 1


async def test_a_denied_destination_is_not_even_connected_to() -> None:
    async with small_server({"/v1/models": model_list("m")}) as server:
        problem = only_problem(await check(server.url, policy=NetworkPolicy(allow_loopback=False)))
    assert problem.code == "denied"
    assert "network.allow_loopback" in problem.hint
    assert server.connections == [0]
    assert only_problem(await check("http://169.254.169.254/v1")).code == "denied"
    assert only_problem(await check("http://2852039166/v1")).code == "denied"


async def test_what_is_no_url_or_no_key_is_said_without_any_request() -> None:
    assert only_problem(await check("ftp://x")).code == "invalid_url"
    assert only_problem(await check("http://127.0.0.1:1", key="two words")).code == "invalid_key"


@pytest.mark.parametrize(
    ("days", "name", "ca", "reason"),
    [
        (-2, "127.0.0.1", False, "expired"),
        (-2, "127.0.0.1", True, "unknown_issuer"),
        (30, "127.0.0.1", False, "self_signed"),
        (30, "127.0.0.1", True, "unknown_issuer"),
    ],
)
async def test_a_certificate_that_does_not_hold_is_explained(
    tmp_path: Path, days: int, name: str, ca: bool, reason: str
) -> None:
    context, _ = server_context(tmp_path, name=name, days=days, ca=ca)
    async with small_server({"/v1/models": model_list("m")}, tls=context) as server:
        problem = only_problem(await check(f"https://127.0.0.1:{server.port}"))
    assert problem.code == "tls"
    assert problem.details["reason"] in {reason, "self_signed"}


@pytest.mark.parametrize(("days", "name", "reason"), [(-2, "127.0.0.1", "expired"), (30, "other.example", "hostname")])
async def test_a_certificate_of_a_known_authority_may_still_be_expired_or_for_another_name(
    tmp_path: Path, days: int, name: str, reason: str
) -> None:
    context, trust = server_context(tmp_path, name=name, days=days, ca=True)
    async with small_server({"/v1/models": model_list("m")}, tls=context) as server:
        problem = only_problem(await check(f"https://127.0.0.1:{server.port}", ca_file=str(trust)))
    assert (problem.code, problem.details["reason"]) == ("tls", reason)


async def test_a_ca_file_makes_a_private_authority_trusted_and_verification_can_be_switched_off(tmp_path: Path) -> None:
    context, trust = server_context(tmp_path, ca=True)
    async with small_server({"/v1/models": model_list("m")}, tls=context) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert (await check(url, ca_file=str(trust))).ok
        assert (await check(url, verify_tls=False)).ok


async def test_https_on_a_plain_port_and_http_on_a_tls_port_are_told_apart(tmp_path: Path) -> None:
    async with small_server({"/v1/models": model_list("m")}) as server:
        plain = only_problem(await check(f"https://127.0.0.1:{server.port}", timeout=0.5))
    assert (plain.code, plain.details["reason"]) == ("tls", "not_tls")
    context, _ = server_context(tmp_path)
    async with small_server({"/v1/models": model_list("m")}, tls=context) as server:
        secure = only_problem(await check(f"http://127.0.0.1:{server.port}"))
    assert (secure.code, secure.details["reason"]) == ("tls", "tls_required")
    polite = Reply(400, "Client sent an HTTP request to an HTTPS server.")
    async with small_server({"/v1/models": polite}) as server:
        assert only_problem(await check(server.url)).details["reason"] == "tls_required"


async def test_a_server_without_a_list_is_found_without_spending_and_tested_when_allowed() -> None:
    def chat(got: Got) -> Reply:
        if got.method == "GET":
            return Reply(405, b"")
        return Reply(body={"choices": [{"message": {"content": "Hi"}}]})

    info = Reply(body={"model_id": "bigcode/starcoder", "max_total_tokens": 8192})
    async with small_server({"/v1/chat/completions": chat, "/info": info}) as server:
        frugal = await check(server.url, models=["tgi"])
        assert all(got.method == "GET" for got in server.got)
        paid = await check(server.url, models=["tgi"], allow_spend=True)
    assert frugal.ok
    assert frugal.base_url == f"{server.url}/v1"
    assert [problem.code for problem in frugal.problems] == ["models_not_listed"]
    assert frugal.server == "TGI"
    assert (frugal.models[0].id, frugal.models[0].context_window) == ("bigcode/starcoder", 8192)
    assert paid.ok
    assert paid.paid_calls == 1
    assert paid.problems == []
    assert server.got[-1].json["max_tokens"] == 1


async def test_an_embedding_server_without_a_list_is_tested_by_an_embedding() -> None:
    embedding = Reply(body={"data": [{"embedding": [0.1]}]})
    async with small_server({"/v1/embeddings": embedding}) as server:
        report = await check(server.url, models=["e5"], allow_spend=True)
    assert report.ok, report.problems
    assert report.paid_calls == 1


async def test_a_model_that_the_server_refuses_is_unknown_also_without_a_list() -> None:
    missing = Reply(404, {"error": {"message": "The model 'x' does not exist", "code": "model_not_found"}})
    async with small_server({"/v1/chat/completions": missing}) as server:
        problem = only_problem(await check(server.url, models=["x"], allow_spend=True))
    assert problem.code == "unknown_model"


async def test_context_windows_are_read_from_each_kind_of_server() -> None:
    cases: list[tuple[dict[str, Any], str, int]] = [
        ({"/v1/models": model_list("m", owned_by="llamacpp", meta={"n_ctx_train": 32768})}, "llama.cpp", 32768),
        ({"/v1/models": model_list("m", context_length=8000)}, "None", 8000),
        (
            {
                "/v1/models": model_list("m", owned_by="llamacpp", meta={"n_ctx_train": 32768}),
                "/props": Reply(body={"default_generation_settings": {"n_ctx": 4096}}),
            },
            "llama.cpp",
            4096,
        ),
        (
            {
                "/v1/models": model_list("m", owned_by="organization_owner"),
                "/api/v0/models": Reply(body={"data": [{"id": "m", "max_context_length": 131072}]}),
            },
            "LM Studio",
            131072,
        ),
        (
            {
                "/v1/models": model_list("m", owned_by="m"),
                "/info": Reply(body={"model_id": "m", "max_total_tokens": 77}),
            },
            "TGI",
            77,
        ),
    ]
    for answers, kind, window in cases:
        async with small_server(answers) as server:
            report = await check(server.url)
        assert (str(report.server), report.models[0].context_window) == (kind, window)


async def test_a_huge_answer_is_read_only_in_part() -> None:
    async with small_server({"/v1/models": Reply(200, [b"x" * 1_000_000] * 30)}) as server:
        report = await asyncio.wait_for(check(server.url), 20)
    assert only_problem(report).code == "not_openai"


def test_a_hub_and_a_host_of_code_list_what_their_models_can_do() -> None:
    body = b'{"data": [{"id": "a", "abilities": ["chat", "vision", "flying", 7]}, {"id": "b", "abilities": []}]}'
    first, second = parse_models(body) or ()
    assert first.abilities == {"chat", "vision"}
    assert second.abilities is None
