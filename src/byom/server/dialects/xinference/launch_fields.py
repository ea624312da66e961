"""The body of ``launch_model`` as a `LaunchRequest`: every argument is done, or refused; none is passed over.

Clients send all their arguments, nulls included, and whatever else they were given beside them. What is not known here
is an argument of the engine, which knows whether there is such a one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from byom.errors import BadRequest
from byom.server.launching.request import LaunchRequest, of

_SAME = {
    "model_name": "model_name",
    "model_type": "model_type",
    "model_uid": "uid",
    "model_engine": "engine",
    "model_format": "format",
    "model_size_in_billions": "size",
    "quantization": "quantization",
    "model_path": "model_path",
    "gpu_idx": "gpu_idx",
    "envs": "environment",
    "idle_unload_seconds": "idle_unload_seconds",
    "pinned": "pinned",
    "evict": "evict",
    "slots": "slots",
    "start_seconds": "start_seconds",
}
"""Ours by theirs; the last five are our own, for clients that pass them as further arguments."""
_CONTEXT = ("context_length", "n_ctx", "max_model_len", "context_size")
"""Names that engines have for one thing."""
_OWN = frozenset(
    {
        *_SAME, *_CONTEXT, "replica", "n_gpu", "n_worker", "request_limits", "replica_config", "worker_ip",
        "peft_model_config", "enable_thinking", "enable_virtual_env", "virtual_env_packages", "virtual_env_find_links",
        "download_hub", "trust_remote_code", "wait_ready", "enable_weight_cache", "n_parallel",
    }
)  # fmt: skip


class Launch(NamedTuple):
    request: LaunchRequest
    most_calls: int | None
    """``request_limits``: calls at the same time; more are answered with 429."""


def read(fields: Mapping[str, Any], here: str) -> Launch:
    """``here``: the address of this hub. Raises `BadRequest` naming the argument."""
    given = {name: value for name, value in fields.items() if value is not None}
    if not isinstance(given.get("model_name"), str) or not given["model_name"]:
        raise BadRequest("Say in 'model_name' which registered model to launch.", param="model_name")
    _check_served(given, here)
    found: dict[str, Any] = {ours: given[theirs] for theirs, ours in _SAME.items() if theirs in given}
    if isinstance(found.get("size"), str | int | float):
        found["size"] = str(found["size"]).replace("_", ".")
    found["replicas"] = given.get("replica", 1)
    # Null is no GPU, in every client that can send it; the key is missing where a client is older than it.
    found["n_gpu"] = 0 if "n_gpu" in fields and fields["n_gpu"] is None else given.get("n_gpu", "auto")
    lengths = [given[name] for name in _CONTEXT if name in given]
    if lengths:
        found["context_length"] = lengths[0]
    if "n_parallel" in given:
        found["slots"] = given["n_parallel"]
    found |= _placed(given, here)
    arguments = {name: value for name, value in given.items() if name not in _OWN}
    if "enable_thinking" in given:
        arguments["chat_template_kwargs"] = {"enable_thinking": bool(given["enable_thinking"])}
    if "trust_remote_code" in given:
        arguments["trust_remote_code"] = given["trust_remote_code"]
    found["engine_arguments"] = arguments
    return Launch(of(found), _most_calls(given))


def _check_served(given: Mapping[str, Any], here: str) -> None:
    """Raises `BadRequest` for what this hub does not do: to leave it out would go unnoticed."""
    if given.get("n_worker", 1) != 1:
        raise BadRequest("n_worker: a model is not split over several machines here; leave it at 1.", param="n_worker")
    if given.get("virtual_env_packages") or given.get("virtual_env_find_links"):
        raise BadRequest(
            "virtual_env_packages: engines are not given environments of their own here. Install what the engine "
            "needs beside it, and launch without this argument.",
            param="virtual_env_packages",
        )
    if given.get("peft_model_config"):
        raise BadRequest(
            "peft_model_config: adapters are arguments of the engine here: pass lora (llama.cpp) or lora_modules "
            "(vLLM) instead.",
            param="peft_model_config",
        )
    hub = given.get("download_hub")
    if hub not in (None, "none", "huggingface") and "model_path" not in given:
        raise BadRequest(
            f"download_hub: weights come from Hugging Face or from the spec's model_uri, not from {str(hub)[:50]!r}.",
            param="download_hub",
        )
    _check_worker(given.get("worker_ip"), here)


def _check_worker(worker: Any, here: str) -> None:
    host = here.rpartition(":")[0].strip("[]")
    if worker is not None and str(worker).rpartition(":")[0].strip("[]") != host and worker not in (host, here):
        raise BadRequest(f"worker_ip: there is no place {str(worker)[:100]!r}; this hub is {here}.", param="worker_ip")


def _placed(given: Mapping[str, Any], here: str) -> dict[str, Any]:
    """From ``replica_config``: one entry for each replica, each with one device."""
    entries = given.get("replica_config")
    if entries is None:
        return {}
    if any(name in given for name in ("worker_ip", "gpu_idx")):
        raise BadRequest("replica_config: leave out worker_ip and gpu_idx beside it.", param="replica_config")
    devices = [_device(entry) for entry in entries] if isinstance(entries, list) else []
    if not devices:
        raise BadRequest("replica_config: give a list with one object for each replica.", param="replica_config")
    for device in devices:
        _check_worker(device.get("worker_ip"), here)
    found: dict[str, Any] = {"replicas": len(devices)}
    numbers = [one for device in devices for one in _list(device.get("gpu_idx"))]
    if numbers:
        found["gpu_idx"] = numbers
    counts = {str(device.get("n_gpu", "auto")) for device in devices}
    if len(counts) > 1:
        raise BadRequest("replica_config: give every replica the same n_gpu.", param="replica_config")
    if "n_gpu" in devices[0]:
        found["n_gpu"] = 0 if devices[0]["n_gpu"] is None else devices[0]["n_gpu"]
    return found


def _device(entry: Any) -> dict[str, Any]:
    devices = entry.get("devices") if isinstance(entry, dict) else None
    if devices is None and isinstance(entry, dict):
        return {}
    if not isinstance(devices, list) or len(devices) != 1 or not isinstance(devices[0], dict):
        raise BadRequest("replica_config: each replica has 'devices' with exactly one object.", param="replica_config")
    return devices[0]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _most_calls(given: Mapping[str, Any]) -> int | None:
    most = given.get("request_limits")
    if most is None:
        return None
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise BadRequest("request_limits: give the calls at the same time, 1 or more.", param="request_limits")
    return most
