"""The arguments of ``launch_model``: each is done or refused, in every form that a client gives it."""

from __future__ import annotations

from typing import Any

import pytest

from byom.errors import BadRequest
from byom.server.dialects.xinference.launch_fields import read

HERE = "10.0.0.1:8420"
ALL_NULL = dict.fromkeys(
    ["model_uid", "model_engine", "model_size_in_billions", "model_format", "quantization", "peft_model_config",
     "request_limits", "worker_ip", "gpu_idx", "replica_config", "model_path", "enable_thinking", "enable_virtual_env",
     "virtual_env_packages", "envs", "virtual_env_find_links"]
)  # fmt: skip
OF_NOW = {"model_name": "m", "model_type": "LLM", "replica": 1, "n_worker": 1, "n_gpu": "auto", **ALL_NULL}
OF_OLD = {"model_uid": None, "model_name": "m", "model_size_in_billions": None, "model_format": None, "replica": 1,
          "quantization": None, "n_gpu": "auto"}  # fmt: skip


def test_what_clients_of_every_age_send_without_being_told_anything_is_a_launch_with_defaults() -> None:
    assert read(OF_NOW, HERE) == read(OF_OLD, HERE) == read({"model_name": "m"}, HERE)
    request, most = read(OF_NOW, HERE)
    assert (request.model_name, request.uid, request.n_gpu, request.replicas) == ("m", None, "auto", 1)
    assert most is None


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"model_uid": "u"}, "uid", "u"),
        ({"model_engine": "vLLM"}, "engine", "vLLM"),
        ({"model_format": "ggufv2"}, "format", "ggufv2"),
        ({"model_size_in_billions": 7}, "size", "7"),
        ({"model_size_in_billions": "1_8"}, "size", "1.8"),
        ({"model_size_in_billions": "1.8"}, "size", "1.8"),
        ({"model_size_in_billions": 1.8}, "size", "1.8"),
        ({"quantization": "Int4"}, "quantization", "Int4"),
        ({"replica": 3}, "replicas", 3),
        ({"n_gpu": None}, "n_gpu", 0),
        ({"n_gpu": 2}, "n_gpu", 2),
        ({"gpu_idx": 1}, "gpu_idx", (1,)),
        ({"gpu_idx": [0, 1]}, "gpu_idx", (0, 1)),
        ({"worker_ip": "10.0.0.1"}, "replicas", 1),
        ({"worker_ip": HERE}, "replicas", 1),
        ({"model_path": "/weights/m.gguf"}, "model_path", "/weights/m.gguf"),
        ({"enable_thinking": False}, "engine_arguments", {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"envs": {"A": "b"}}, "environment", {"A": "b"}),
        ({"enable_virtual_env": True}, "engine_arguments", {}),
        ({"n_ctx": 512}, "context_length", 512),
        ({"max_model_len": 512}, "context_length", 512),
        ({"n_parallel": 4}, "slots", 4),
        ({"download_hub": "huggingface"}, "engine_arguments", {}),
        ({"tensor_split": [1, 2]}, "engine_arguments", {"tensor_split": [1, 2]}),
        ({"idle_unload_seconds": 60}, "idle_unload_seconds", 60.0),
        ({"replica_config": [{"replica_uid": "a", "devices": [{"n_gpu": 1, "gpu_idx": [0]}]},
                             {"replica_uid": "b", "devices": [{"n_gpu": 1, "gpu_idx": 1}]}]}, "gpu_idx", (0, 1)),
    ],
)  # fmt: skip
def test_an_argument_is_done(given: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(read({**OF_NOW, **given}, HERE).request, field) == expected


def test_the_most_calls_at_the_same_time_are_told() -> None:
    assert read({**OF_NOW, "request_limits": 8}, HERE).most_calls == 8


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model_name": None}, "model_name"),
        ({"model_type": "image"}, "model_type"),
        ({"n_worker": 2}, "n_worker"),
        ({"replica": 0}, "replicas"),
        ({"n_gpu": -1}, "n_gpu"),
        ({"n_gpu": "all"}, "n_gpu"),
        ({"request_limits": 0}, "request_limits"),
        ({"worker_ip": "10.0.0.2"}, "worker_ip"),
        ({"gpu_idx": [0, 0]}, "gpu_idx"),
        ({"peft_model_config": {"lora_list": []}}, "peft_model_config"),
        ({"virtual_env_packages": ["vllm"]}, "virtual_env_packages"),
        ({"virtual_env_find_links": ["/x"]}, "virtual_env_packages"),
        ({"download_hub": "modelscope"}, "download_hub"),
        ({"replica_config": []}, "replica_config"),
        ({"replica_config": [{"devices": []}]}, "replica_config"),
        ({"replica_config": [{"devices": [{}, {}]}]}, "replica_config"),
        ({"replica_config": [{"devices": [{}]}], "gpu_idx": 1}, "replica_config"),
        ({"envs": {"A": 1}}, "environment"),
        ({"model_size_in_billions": "big"}, "size"),
    ],
)
def test_an_argument_is_refused_by_its_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read({**OF_NOW, **given}, HERE)
