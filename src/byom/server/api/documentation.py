"""``/api/docs``: one page without anything from elsewhere, made from ``/api/openapi.json`` by a script inside it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.responses import HTMLResponse

PAGE = Path(__file__).parent / "static" / "docs.html"


@cache
def _page() -> tuple[str, str]:
    """The page, and a policy that lets only its own script and style run, and only this hub be called."""
    text = PAGE.read_text(encoding="utf-8")
    allowed = {tag: _digest(text, tag) for tag in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _digest(text: str, tag: str) -> str:
    content = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in content)


def docs_page() -> HTMLResponse:
    text, policy = _page()
    return HTMLResponse(text, headers={"content-security-policy": policy})
