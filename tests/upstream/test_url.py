from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.errors import BadRequest
from byom.upstream.url import parse_endpoint


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat/completions/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/embeddings", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/models", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/models/org/name", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/responses", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/rerank", "http://localhost:8000/v1"),
        ("http://localhost:8000/prefix/v1/chat/completions", "http://localhost:8000/prefix/v1"),
        ("http://localhost:8000//prefix//v1//", "http://localhost:8000/prefix/v1"),
        ("https://api.example.org/chat/completions", "https://api.example.org"),
        ("http://localhost:11434/api/generate", "http://localhost:11434/v1"),
        ("http://localhost:8080/#/chat", "http://localhost:8080"),
        ("  'http://localhost:8000/v1'\n", "http://localhost:8000/v1"),
        ("\u201chttp://localhost:8000/v1\u201d", "http://localhost:8000/v1"),
        ("<http://localhost:8000/v1>", "http://localhost:8000/v1"),
        ("HTTP://LocalHost:8000/V1", "http://localhost:8000/V1"),
        ("https://api.example.org:443/v1", "https://api.example.org/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("::1", "http://[::1]"),
        ("http://0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("http://[::]:8000", "http://[::1]:8000"),
        ("https://bücher.example/v1", "https://xn--bcher-kva.example/v1"),
        ("https://api.example.org./v1", "https://api.example.org/v1"),
    ],
)
def test_a_pasted_url_is_reduced_to_its_base(text: str, url: str) -> None:
    assert parse_endpoint(text).url() == url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("myhost:8080", "http://myhost:8080"),
        ("myhost", "http://myhost"),
        ("localhost", "http://localhost"),
        ("192.168.1.5", "http://192.168.1.5"),
        ("api.example.org:8000/v1", "http://api.example.org:8000/v1"),
        ("api.example.org", "https://api.example.org"),
        ("api.example.org/v1", "https://api.example.org/v1"),
        ("api.example.org:443", "https://api.example.org"),
        ("gpu.local", "http://gpu.local"),
    ],
)
def test_a_missing_scheme_is_taken_as_users_expect(text: str, url: str) -> None:
    endpoint = parse_endpoint(text)
    assert endpoint.url() == url
    assert endpoint.scheme_guessed


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("http://h:1", ("/v1", "")),
        ("http://h:1/v1", ("/v1", "")),
        ("http://h:1/v1/chat/completions", ("/v1",)),
        ("http://h:1/chat/completions", ("", "/v1")),
        ("http://h:1/prefix", ("/prefix", "/prefix/v1")),
        ("http://h:1/prefix/v1", ("/prefix/v1", "/prefix")),
        ("http://h:1/v1beta/openai", ("/v1beta/openai", "/v1beta/openai/v1")),
        ("http://h:1/api/paas/v4", ("/api/paas/v4", "/api/paas")),
    ],
)
def test_candidates_never_double_a_version(text: str, candidates: tuple[str, ...]) -> None:
    assert parse_endpoint(text).candidates() == candidates


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("ftp://host/v1", "not supported"),
        ("ws://host/v1", "not supported"),
        ("file:///etc/passwd", "not supported"),
        ("http:localhost", "slashes"),
        ("http://user:pass@host/v1", "user name or password"),
        ("user:pass@host/v1", "user name or password"),
        ("http://host:0/v1", "not a port"),
        ("http://host:99999/v1", "not a port"),
        ("http://host:abc/v1", "not a port"),
        ("http://host:١٢/v1", "not a port"),
        ("http://ho st/v1", "not a host name"),
        ("http:///v1", "not a host name"),
        ("8000", r"Did you mean http://localhost:8000\?"),
        (":8000/v1", r"Did you mean http://localhost:8000\?"),
        ("http://8000", r"Did you mean http://localhost:8000\?"),
        ("http://[::1/v1", "not a host"),
        ("http://[::1]x/v1", "not a host"),
        ("http://[fe80::1%25eth0]:80", "zone"),
        ("http://host/a b", "spaces or control"),
        ("http://host/../etc", "'.' or '..'"),
        ("http://host/%2e%2e/etc", "'.' or '..'"),
        ("http://host/v1?key=sk-secret-value", "query"),
        ("https://n.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-06-01", "Azure"),
        ("http://exa\u2488mple/", "not a"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused_and_said_why(text: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as caught:
        parse_endpoint(text)
    assert caught.value.code == "invalid_url"
    assert "secret" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_changing_the_scheme_takes_a_default_port_along_and_keeps_another() -> None:
    assert parse_endpoint("https://h.example").with_scheme("http").port == 80
    assert parse_endpoint("http://h.example:8080").with_scheme("https").port == 8080


@given(st.text(max_size=60))
def test_any_text_gives_an_endpoint_or_a_bad_request(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except BadRequest:
        return
    assert endpoint.host
    assert not endpoint.base_path.endswith("/")
    assert parse_endpoint(endpoint.url()).url() == endpoint.url() or endpoint.route_given or "/" in endpoint.base_path
