"""Specs and launched models by the client, in three releases: a test for each row of its table of management calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.xinference.clients import SINCE_1, SINCE_4, ClientError
from tests.dialects.xinference.conftest import Run
from tests.dialects.xinference.serving import Served, llm_spec

ALL_KEYS = {
    "model_type", "address", "accelerators", "model_name", "model_lang", "model_ability", "model_description",
    "model_format", "model_size_in_billions", "model_family", "quantization", "multimodal_projector", "model_hub",
    "revision", "context_length", "model_engine", "replica",
}  # fmt: skip


def spec_for(hub: Served, name: str, **fields: Any) -> str:
    return json.dumps(llm_spec(hub.weights, name, **fields))


# -- what is listed and described


def test_launched_models_are_listed_with_their_descriptions(run: Run) -> None:
    models = run("return client.list_models()")
    tiny = models["tiny"]
    assert tiny["id"] == "tiny"
    assert tiny["object"] == "model"
    assert tiny.keys() >= ALL_KEYS
    assert tiny["model_engine"] == "llama.cpp"
    assert (tiny["model_format"], tiny["quantization"]) == ("ggufv2", "F32")
    assert tiny["model_size_in_billions"] == "0_1"
    assert models["vectors"]["model_type"] == "embedding"
    assert models["vectors"]["dimensions"] == 64
    assert models["ranker"]["model_type"] == "rerank"


def test_a_model_is_described(run: Run) -> None:
    found = run("""return client.describe_model("tiny")""")
    assert found["model_type"] == "LLM"
    assert {"generate", "chat"} <= set(found["model_ability"])
    assert found.keys() >= ALL_KEYS
    remote = run("""return client.describe_model("remote-chat")""")
    assert remote.keys() >= ALL_KEYS
    assert remote["model_format"] is None


@SINCE_1
def test_instances_are_told_with_their_replicas(run: Run) -> None:
    (found,) = run("""return client.get_instance_info("tiny", "tiny")""")
    assert (found["model_name"], found["model_uid"], found["status"]) == ("tiny", "tiny", "READY")
    (replica,) = found["replica_statuses"]
    assert replica["model_state"] == "ready"
    assert len(run("""return client.get_instance_info("", "")""")) >= 3


# -- specs


def test_a_spec_is_registered_looked_at_and_unregistered(run: Run, hub: Served) -> None:
    listed, spec, after = run(
        """
        client.register_model("LLM", spec, persist=False)
        listed = client.list_model_registrations("LLM")
        found = client.get_model_registration("LLM", "one-more")
        client.unregister_model("LLM", "one-more")
        return [listed, found, client.list_model_registrations("LLM")]
        """,
        spec=spec_for(hub, "one-more"),
    )
    assert {"model_name": "one-more", "is_builtin": False} in listed
    names = [one["model_name"].lower() for one in listed]
    assert names == sorted(names)
    assert (spec["version"], spec["model_name"]) == (2, "one-more")
    assert spec["model_specs"][0]["model_uri"] == str(hub.weights)
    assert "one-more" not in [one["model_name"] for one in after]


def test_every_kind_has_its_own_list(run: Run) -> None:
    assert [one["model_name"] for one in run("""return client.list_model_registrations("embedding")""")] == ["vectors"]
    assert [one["model_name"] for one in run("""return client.list_model_registrations("rerank")""")] == ["ranker"]


def test_specs_are_listed_in_detail(run: Run, hub: Served) -> None:
    found = hub.get("/v1/model_registrations/LLM?detailed=true").json()
    tiny = next(one for one in found if one["model_name"] == "tiny")
    assert (tiny["model_version_count"], tiny["model_instance_count"]) == (1, 1)
    assert tiny["model_specs"][0]["cache_status"] in ([True], [False])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_name": "a/b"}, "model_name"),
        ({"model_ability": ["fly"]}, "model_ability"),
        ({"model_specs": []}, "model_specs"),
        ({"version": 3}, "version"),
    ],
)
def test_a_wrong_spec_is_refused_naming_the_field(run: Run, hub: Served, change: dict[str, Any], said: str) -> None:
    code = """client.register_model("LLM", spec, persist=False)"""
    with pytest.raises(ClientError, match=rf"Failed to register model, detail: (?s:.*){said}"):
        run(code, spec=spec_for(hub, "wrong", **change))


def test_a_name_that_is_taken_a_kind_that_is_none_and_text_that_is_no_json_are_refused(run: Run, hub: Served) -> None:
    code = """client.register_model(kind, spec, persist=False)"""
    with pytest.raises(ClientError, match="already registered"):
        run(code, kind="LLM", spec=spec_for(hub, "tiny"))
    with pytest.raises(ClientError, match="Unsupported model type: image"):
        run(code, kind="image", spec=spec_for(hub, "wrong"))
    with pytest.raises(ClientError, match=r"detail: (?s:.*)JSON"):
        run(code, kind="LLM", spec="{no json")
    with pytest.raises(ClientError, match="Model nobody not found"):
        run("""client.get_model_registration("LLM", "nobody")""")
    run("""client.unregister_model("LLM", "nobody")""")


def test_engines_are_told_with_what_they_run_or_why_not(run: Run) -> None:
    found = run("""return client.query_engine_by_model_name("tiny")""")
    (entry,) = found["llama.cpp"]
    assert (entry["model_name"], entry["model_format"], entry["quantizations"]) == ("tiny", "ggufv2", ["F32"])
    assert all(isinstance(one, str) and one for name, one in found.items() if name != "llama.cpp")
    assert run("""return client.query_engine_by_model_name("nobody")""") is None


@SINCE_1
def test_engines_of_another_kind_are_told(run: Run) -> None:
    found = run("""return client.query_engine_by_model_name("vectors", model_type="embedding")""")
    assert isinstance(found["llama.cpp"], list)


# -- launching


def test_a_model_is_launched_with_arguments_and_terminated(run: Run) -> None:
    uid, listed, after = run("""
        uid = client.launch_model(
            "tiny", model_uid="second", model_engine="llama.cpp", model_format="ggufv2", quantization="F32",
            model_size_in_billions="0_1", n_gpu=None, replica=1, request_limits=4, n_ctx=128, n_threads=1,
        )
        listed = client.list_models()["second"]
        client.terminate_model(uid)
        return [uid, listed, sorted(client.list_models())]
    """)
    assert uid == "second"
    assert listed["context_length"] == 128
    assert "second" not in after


def test_a_launch_that_cannot_be_says_why(run: Run) -> None:
    for code, said in (
        ("""client.launch_model("nobody")""", "nobody not found"),
        ("""client.launch_model("tiny", model_uid="tiny")""", "launched already"),
        ("""client.launch_model("tiny", model_engine="nothing", model_uid="x")""", "nothing"),
        ("""client.launch_model("tiny", quantization="Q9", model_uid="x")""", "Q9"),
        ("""client.launch_model("tiny", model_uid="x", no_such_argument=1)""", "no_such_argument"),
        ("""client.launch_model("tiny", model_uid="x-rep1")""", "replica"),
        ("""client.launch_model("tiny", model_uid="x", replica=0)""", "replicas"),
        ("""client.launch_model("tiny", model_uid="x", download_hub="modelscope")""", "download_hub"),
    ):
        with pytest.raises(ClientError, match=f"Failed to launch model, detail: (?s:.*){said}"):
            run(code)
    for code in ("""client.terminate_model("nobody")""", """client.describe_model("nobody")"""):
        with pytest.raises(ClientError, match=r"detail: .*nobody"):
            run(code)


@SINCE_4
def test_calls_beyond_the_limit_of_a_launch_are_refused(run: Run, hub: Served) -> None:
    run("""client.launch_model("tiny", model_uid="narrow", request_limits=1)""")
    assert hub.get("/api/models/narrow").json()["limits"]["concurrency"] == 1
    run("""client.terminate_model("narrow")""")


def test_a_second_launch_of_a_model_gets_a_name_of_its_own(run: Run) -> None:
    uid = run("""
        uid = client.launch_model("tiny")
        client.terminate_model(uid)
        return uid
    """)
    assert uid.startswith("tiny-")
    assert len(uid) == len("tiny-") + 8


@SINCE_1
def test_a_launch_that_is_not_waited_for_tells_its_progress(run: Run) -> None:
    uid, seen, unknown = run("""
        import time
        unknown = client.get_launch_model_progress("not-yet")
        uid = client.launch_model("tiny", model_uid="patient", wait_ready=False)
        seen, until = [], time.monotonic() + 60
        while time.monotonic() < until and (not seen or seen[-1]["progress"] < 1.0):
            seen.append(client.get_launch_model_progress(uid))
            time.sleep(0.02)
        answer = client.get_model(uid).generate("A", {"max_tokens": 2})
        assert answer["usage"]["completion_tokens"] in (1, 2)
        client.terminate_model(uid)
        return [uid, seen, unknown]
    """)
    assert uid == "patient"
    assert unknown["progress"] == 0.0
    assert unknown["stage"] == "pending"
    far = [one["progress"] for one in seen]
    assert far == sorted(far)
    assert far[-1] == 1.0
    assert {one["stage"] for one in seen} <= {"pending", "downloading", "loading", "launching"}
    assert seen[-1]["replicas"][0]["replica_model_uid"] == "patient-rep0"


@SINCE_1
def test_a_launch_is_cancelled_while_it_loads_and_the_name_is_free_again(run: Run) -> None:
    found = run("""
        uid = client.launch_model("tiny", model_uid="stopped", wait_ready=False)
        client.cancel_launch_model(uid)
        gone = uid not in client.list_models()
        client.launch_model("tiny", model_uid="stopped")
        try:
            client.cancel_launch_model("stopped")
        except RuntimeError as error:
            said = str(error)
        client.terminate_model("stopped")
        return [gone, said]
    """)
    assert found[0] is True
    assert "Terminate" in found[1]
    with pytest.raises(ClientError, match=r"cancel launching model, detail: .*nobody"):
        run("""client.cancel_launch_model("nobody")""")


@SINCE_4
def test_replicas_are_added_and_removed(run: Run) -> None:
    found = run("""
        client.launch_model("tiny", model_uid="wide")
        one = client.add_model_replica("wide")
        more = client.add_model_replica("wide", replica=2)
        answer = client.get_model("wide").generate("A", {"max_tokens": 2})
        (info,) = client.get_instance_info("", "wide")
        left = [client.terminate_model_replica("wide", one["replica_id"])]
        left.append(client.terminate_model_replica("wide", 0))
        left.append(client.terminate_model_replica("wide", more["replicas"][0]["replica_id"]))
        errors = []
        for number in (77, more["replicas"][1]["replica_id"]):
            try:
                client.terminate_model_replica("wide", number)
            except RuntimeError as error:
                errors.append(str(error))
        client.terminate_model("wide")
        return [one, more, len(info["replica_statuses"]), left, errors]
    """)
    one, more, count, left, errors = found
    assert set(one) == {"replica_id", "replica_model_uid", "worker_address"}
    assert more["replica"] == 2
    assert count == 4
    assert left == [3, 2, 1]
    assert "no replica 77" in errors[0]
    assert "only replica" in errors[1]


@SINCE_4
def test_replicas_are_launched_from_a_configuration(run: Run) -> None:
    count = run("""
        config = [{"replica_uid": one, "devices": [{"n_gpu": None}]} for one in ("a", "b")]
        client.launch_model("tiny", model_uid="placed", n_gpu=None, replica_config=config)
        (info,) = client.get_instance_info("", "placed")
        client.terminate_model("placed")
        return len(info["replica_statuses"])
    """)
    assert count == 2


# -- cached weights


def test_cached_models_are_listed_and_removed(run: Run) -> None:
    listed, files, removed = run("""
        listed = client.list_cached_models()
        version = "nobody--1B--ggufv2--F32"
        return [listed, client.list_deletable_models(version), client.confirm_and_remove_model(version)]
    """)
    assert isinstance(listed, list)
    assert files == [] or files["paths"] == []
    assert removed is False
