"""Portkey's open gateway on Node, production mode. It checks no key of its own: the upstream is named per request."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import peers
from processes import GATEWAY_CORE, Child, free_port

from legs.leg import CHAT_PATH, Running, Target, Upstreams, Workplace


@dataclass(frozen=True, slots=True)
class _Portkey:
    child: Child
    port: int
    upstreams: Upstreams

    def target(self, model: str) -> Target:
        headers = {
            "Authorization": "Bearer sk-mock",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": self.upstreams.base(model),
        }
        return Target(f"http://127.0.0.1:{self.port}{CHAT_PATH}", headers)


class Portkey:
    """The leg of Portkey."""

    name = "portkey"
    slow = False

    def missing(self) -> str:
        if not shutil.which("node"):
            return "node is not installed"
        return (
            "" if peers.portkey_server().exists() else f"{peers.PORTKEY} is not installed; bench/peers.py installs it"
        )

    def version(self) -> str:
        return peers.portkey_version()

    def start(self, place: Workplace) -> Running:
        port = free_port()
        command: list[str | Path] = ["node", peers.portkey_server(), f"--port={port}", "--headless"]
        env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
        child = place.children.start("portkey", command, core=GATEWAY_CORE, env=env)
        return _Portkey(child, port, place.upstreams)
