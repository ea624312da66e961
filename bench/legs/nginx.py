"""nginx ``proxy_pass``: one worker, pooled keep-alive upstream connections. It checks and counts nothing: the limit."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from mock.static import HTTP_SETTINGS, NGINX_PREAMBLE
from processes import GATEWAY_CORE, Child, free_port

from legs.leg import BURST, PACED, PLAIN, Running, Target, Upstreams, Workplace

_MODELS = (PLAIN, BURST, PACED)


@dataclass(frozen=True, slots=True)
class _Proxy:
    child: Child
    port: int

    def target(self, model: str) -> Target:
        return Target(f"http://127.0.0.1:{self.port}/{model}/chat/completions", {})


class Nginx:
    """The leg of nginx."""

    name = "nginx"
    slow = False

    def missing(self) -> str:
        return "" if shutil.which("nginx") else "nginx is not installed"

    def version(self) -> str:
        told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
        return told.rpartition("/")[2].strip()

    def start(self, place: Workplace) -> Running:
        port = free_port()
        place.folder.mkdir(parents=True, exist_ok=True)
        configuration = NGINX_PREAMBLE.format(folder=place.folder) + _http(place, port)
        (place.folder / "nginx.conf").write_text(configuration)
        command = ["nginx", "-p", str(place.folder), "-c", "nginx.conf", "-e", "stderr"]
        return _Proxy(place.children.start("nginx", command, core=GATEWAY_CORE), port)


def _http(place: Workplace, port: int) -> str:
    return f"""http {{
{HTTP_SETTINGS.format(folder=place.folder)}
{"".join(_upstream(model, place.upstreams) for model in _MODELS)}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
{"".join(_location(model) for model in _MODELS)}
  }}
}}
"""


def _upstream(model: str, upstreams: Upstreams) -> str:
    return f"""
  upstream {model} {{
    server 127.0.0.1:{upstreams.ports[model]};
    keepalive 128;
    keepalive_requests 1000000000;
  }}"""


def _location(model: str) -> str:
    # A whole answer is quickest through buffers; a stream must not wait in them, and 64 KiB take it in one read.
    streaming = "" if model == PLAIN else "proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 4 64k; "
    return f"    location /{model}/ {{ {streaming}proxy_pass http://{model}/v1/; }}\n"
