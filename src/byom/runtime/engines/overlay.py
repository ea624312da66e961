"""A folder of weights with another chat template, made of links."""

from __future__ import annotations

from pathlib import Path


def with_template(folder: Path, template: str, target: Path) -> Path:
    """Fills ``target`` with links to what ``folder`` holds, and with ``chat_template.jinja`` of its own."""
    target.mkdir(parents=True, exist_ok=True)
    for item in folder.iterdir():
        if item.name not in ("chat_template.jinja", "chat_template.json"):
            (target / item.name).symlink_to(item.resolve())
    (target / "chat_template.jinja").write_text(template, encoding="utf-8")
    return target
