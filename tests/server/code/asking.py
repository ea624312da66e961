"""Asks models through a hub."""

from __future__ import annotations

from typing import Any

import httpx2


async def ask(client: httpx2.AsyncClient, model: str, text: str = "hello", **fields: Any) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return await client.post("/v1/chat/completions", json=body)


def text_of(response: httpx2.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def error_of(response: httpx2.Response, status: int, code: str) -> str:
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    return str(response.json()["error"]["message"])


async def add(client: httpx2.AsyncClient, target: object, **fields: Any) -> dict[str, Any]:
    made = await client.post("/api/connections/code", json={"target": str(target), **fields})
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found
