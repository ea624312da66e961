"""LiteLLM proxy: one worker, a master key, no database, its price list from the package."""

from __future__ import annotations

import json
from pathlib import Path

import peers
from processes import GATEWAY_CORE, free_port

from legs.leg import BURST, PACED, PLAIN, Gateway, Running, Workplace

_MASTER_KEY = "sk-bench-master-key"


class LiteLLM:
    """The leg of LiteLLM."""

    name = "litellm"
    slow = True

    def missing(self) -> str:
        return (
            "" if peers.litellm_command().exists() else f"{peers.LITELLM} is not installed; bench/peers.py installs it"
        )

    def version(self) -> str:
        return peers.litellm_version()

    def start(self, place: Workplace) -> Running:
        port = free_port()
        place.folder.mkdir(parents=True, exist_ok=True)
        configuration = place.folder / "config.yaml"
        # JSON is YAML; no YAML library is needed to write it.
        configuration.write_text(json.dumps(_configuration(place)))
        command: list[str | Path] = [
            *(peers.litellm_command(), "--config", configuration, "--host", "127.0.0.1"),
            *("--port", str(port), "--num_workers", "1"),
        ]
        env = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_TELEMETRY": "False",
        }
        child = place.children.start("litellm", command, core=GATEWAY_CORE, env=env, cwd=place.folder)
        return Gateway(child, port, {"Authorization": f"Bearer {_MASTER_KEY}"})


def _configuration(place: Workplace) -> dict[str, object]:
    models = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": place.upstreams.base(model),
                "api_key": "sk-mock",
            },
        }
        for model in (PLAIN, BURST, PACED)
    ]
    return {
        "model_list": models,
        "general_settings": {"master_key": _MASTER_KEY},
        "litellm_settings": {"telemetry": False, "request_timeout": 600},
    }
