"""A folder to start a plugin from. It works as it is."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

from byom.errors import BadRequest, Conflict

FILES = {
    "plugin.json": "plugin.json",
    "README.md": "README.md",
    "python-llms/chat/llm.json": "llm.json",
    "python-llms/chat/llm.py": "llm.py",
    "parameter-sets/credentials/parameter-set.json": "parameter-set.json",
    "code-env/python/desc.json": "desc.json",
    "code-env/python/spec/requirements.txt": "requirements.txt",
    "tests/test_llm.py": "test_llm.py",
}
"""Where each template goes."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def scaffold(name: str, folder: Path) -> list[Path]:
    """Write a new plugin called ``name`` into ``folder``, which is made; returns its files. Raises `BadRequest` for a
    name that a plugin cannot have, `Conflict` where the folder has something in it."""
    if not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} is no name of a plugin: use letters, digits, - and _", param="name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is there already, and not empty: choose another with --dir")
    label = re.sub(r"[-_]+", " ", name).strip().capitalize()
    written = []
    for place, template in FILES.items():
        text = resources.files("byom.host.plugins").joinpath("template", f"{template}.template").read_text("utf-8")
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        # Only these two: code has dollar signs of its own.
        path.write_text(Template(text).safe_substitute(id=name, label=label), encoding="utf-8")
        written.append(path)
    (folder / "python-lib").mkdir(exist_ok=True)
    (folder / "resource").mkdir(exist_ok=True)
    return written
