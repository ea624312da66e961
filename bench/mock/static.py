"""The undelayed mock upstream: nginx answering from memory, so that the gateway is what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mock.answers import COMPLETION, MODELS, stream_events

# nginx reads a configuration token through a 4,096-byte buffer, so a long answer is put together from pieces.
_PIECE_BYTES = 3500


@dataclass(frozen=True, slots=True)
class StaticMock:
    """Ports of the two answers: a whole completion and a stream of 103 events."""

    plain_port: int
    burst_port: int

    def write_configuration(self, folder: Path) -> list[str]:
        """Write ``nginx.conf`` into ``folder`` and return the command that serves it in the foreground."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nginx.conf").write_text(self._configuration(folder))
        return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]

    def _configuration(self, folder: Path) -> str:
        pieces = _pieces(stream_events())
        sets = "\n".join(f"      set $part{index} '{piece}';" for index, piece in enumerate(pieces))
        whole = "".join(f"${{part{index}}}" for index in range(len(pieces)))
        burst = f"""
    location = /v1/chat/completions {{
      default_type text/event-stream;
{sets}
      return 200 "{whole}";
    }}"""
        plain = f"""
    location = /v1/chat/completions {{ default_type application/json; return 200 '{COMPLETION}'; }}"""
        servers = _server(self.plain_port, plain) + _server(self.burst_port, burst)
        http = f"http {{{HTTP_SETTINGS.format(folder=folder)}{servers}}}\n"
        return NGINX_PREAMBLE.format(folder=folder) + http


NGINX_PREAMBLE = """daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; multi_accept on; }}
"""

HTTP_SETTINGS = """
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
"""


def _server(port: int, chat: str) -> str:
    return f"""
  server {{
    listen 127.0.0.1:{port} backlog=4096;{chat}
    location = /v1/models {{ default_type application/json; return 200 '{MODELS}'; }}
  }}
"""


def _pieces(events: list[str]) -> list[str]:
    pieces = [""]
    for text in events:
        if len(pieces[-1]) + len(text) > _PIECE_BYTES:
            pieces.append("")
        pieces[-1] += text
    return pieces
