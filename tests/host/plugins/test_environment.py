"""Environments, built with uv from packages on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from byom.host.plugins import environment, uv
from byom.host.plugins.environment import Plan, Progress
from byom.host.plugins.folder import read
from tests.host.interpreters import found
from tests.host.plugins import samples
from tests.host.plugins.wheels import wheel

OFFLINE = "--no-index\n--find-links ./wheels\n"


def plugin_folder(folder: Path, requirements: str = OFFLINE + "tinyvendor==1.0\n", **desc: object) -> Path:
    samples.ollama(folder)
    spec = folder / "code-env" / "python" / "spec"
    wheel(spec / "wheels", "tinyvendor", "1.0", "VALUE = 42\n")
    samples.write(
        folder,
        {
            "code-env/python/spec/requirements.txt": requirements,
            "code-env/python/desc.json": {"acceptedPythonInterpreters": [], **desc},
        },
    )
    return folder


async def planned(folder: Path, home: Path) -> Plan:
    wanted = await environment.plan(read(folder), home)
    assert wanted is not None
    return wanted


async def built(wanted: Plan) -> list[Progress]:
    return [progress async for progress in environment.build(wanted)]


def python(wanted: Plan, code: str) -> str:
    done = subprocess.run([wanted.python, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


async def test_an_environment_has_the_plugins_packages_and_none_of_byoms(tmp_path: Path) -> None:
    wanted = await planned(plugin_folder(tmp_path / "plugin"), tmp_path / "home")
    progress = await built(wanted)
    assert wanted.ready
    assert python(wanted, "import tinyvendor; print(tinyvendor.VALUE)") == "42"
    assert (
        python(wanted, "import importlib.util as u; print(u.find_spec('byom'), u.find_spec('fastapi'))") == "None None"
    )
    assert progress[0].stage == "creating"
    assert progress[-1].stage == "ready"
    assert progress[-1].fraction == 1.0
    assert "tinyvendor" in {one.package for one in progress}
    fractions = [one.fraction for one in progress if one.fraction is not None]
    assert fractions == sorted(fractions)
    assert [path.name for path in wanted.folder.parent.iterdir() if not path.name.endswith(".lock")] == [
        wanted.folder.name
    ]


async def test_the_same_needs_share_one_environment_and_others_get_their_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    one = await planned(plugin_folder(tmp_path / "one"), home)
    await built(one)
    same = await planned(plugin_folder(tmp_path / "two"), home)
    assert same.folder == one.folder
    assert [progress.stage for progress in await built(same)] == ["ready"]
    other = await planned(plugin_folder(tmp_path / "three", OFFLINE + "# nothing\n"), home)
    assert other.folder != one.folder


async def test_a_plugin_without_a_code_environment_runs_on_byoms_python(tmp_path: Path) -> None:
    assert await environment.plan(read(samples.typesafe(tmp_path)), tmp_path / "home") is None


async def test_a_package_that_is_not_there_is_told_in_uvs_words_and_leaves_nothing(tmp_path: Path) -> None:
    wanted = await planned(plugin_folder(tmp_path / "plugin", OFFLINE + "no-such-package\n"), tmp_path / "home")
    with pytest.raises(uv.UvFailed, match="no-such-package"):
        await built(wanted)
    assert [path.name for path in wanted.folder.parent.iterdir()] == [f".{wanted.folder.name}.lock"]
    assert not wanted.ready


async def test_a_build_that_is_broken_off_leaves_nothing_and_can_be_made_again(tmp_path: Path) -> None:
    wanted = await planned(plugin_folder(tmp_path / "plugin"), tmp_path / "home")
    async with contextlib.aclosing(environment.build(wanted)) as progress:
        async for one in progress:
            if one.stage == "resolving":
                break
    assert [path.name for path in wanted.folder.parent.iterdir()] == [f".{wanted.folder.name}.lock"]
    await built(wanted)
    assert wanted.ready


async def test_a_task_that_is_cancelled_ends_uv(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    slow = f"--index-url http://127.0.0.1:{port}/simple\nnever-answered\n"
    wanted = await planned(plugin_folder(tmp_path / "plugin", slow), tmp_path / "home")
    resolving = asyncio.Event()

    async def run() -> None:
        async with contextlib.aclosing(environment.build(wanted)) as progress:
            async for one in progress:
                if one.stage == "resolving":
                    resolving.set()

    task = asyncio.create_task(run())
    await asyncio.wait_for(resolving.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert [path.name for path in wanted.folder.parent.iterdir()] == [f".{wanted.folder.name}.lock"]
    server.close()


async def test_remains_of_a_build_that_was_killed_go_with_the_next(tmp_path: Path) -> None:
    wanted = await planned(plugin_folder(tmp_path / "plugin"), tmp_path / "home")
    remains = wanted.folder.parent / f".{wanted.folder.name}-killed"
    remains.mkdir(parents=True)
    wanted.folder.mkdir()
    (wanted.folder / "half").write_text("")
    await built(wanted)
    assert wanted.ready
    assert not remains.exists()
    assert not (wanted.folder / "half").exists()


async def test_two_who_build_the_same_at_once_build_it_once(tmp_path: Path) -> None:
    wanted = await planned(plugin_folder(tmp_path / "plugin"), tmp_path / "home")
    both = await asyncio.gather(built(wanted), built(wanted))
    assert wanted.ready
    stages = [{one.stage for one in progress} for progress in both]
    assert {"waiting", "ready"} in stages


async def test_an_interpreter_that_is_not_here_is_said_and_the_running_one_used(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path / "plugin", acceptedPythonInterpreters=["PYTHON399"])
    wanted = await planned(folder, tmp_path / "home")
    assert wanted.interpreter == sys.executable
    assert "asks for Python 3.99, which this machine has not" in (await built(wanted))[0].text


async def test_the_running_interpreter_is_taken_where_it_is_accepted(tmp_path: Path) -> None:
    own = f"PYTHON{sys.version_info.major}{sys.version_info.minor}"
    folder = plugin_folder(tmp_path / "plugin", acceptedPythonInterpreters=["PYTHON399", own])
    wanted = await planned(folder, tmp_path / "home")
    assert (wanted.interpreter, wanted.notes) == (sys.executable, ())


async def test_environments_that_nobody_uses_can_be_found_and_removed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    wanted = await planned(plugin_folder(tmp_path / "plugin"), home)
    await built(wanted)
    assert environment.unused(home, {wanted.folder}) == []
    assert environment.unused(home, set()) == [wanted.folder]
    environment.remove(wanted.folder)
    assert environment.unused(home, set()) == []


async def test_uv_gets_none_of_the_hubs_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYOM_API_KEY", "sk-byom-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert not {"BYOM_API_KEY", "OPENAI_API_KEY"} & set(uv.environment())
    assert uv.environment()["UV_OFFLINE"] == "1"


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from worker.contract import Context
from worker.contracts.plugin import load
served = load(sys.argv[2], {"models": [{"name": "m", "component": "ollama", "config": {"words": ["a"]}}]})[0]
print(json.dumps(list(served.chat({"messages": []}, Context()))))
"""


async def runs_there(wanted: Plan, folder: Path) -> None:
    """The worker's files alone, in an environment of the plugin's own packages."""
    host = Path(environment.__file__).parents[1]
    command = [str(wanted.python), "-I", "-c", PROGRAM, str(host), str(folder)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == {"text": "a"}


async def test_the_plugins_code_runs_there_without_byom(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path / "plugin")
    llm = folder / "python-llms" / "ollama" / "llm.py"
    llm.write_text("import tinyvendor\n" + llm.read_text())
    wanted = await planned(folder, tmp_path / "home")
    await built(wanted)
    await runs_there(wanted, folder)


@pytest.mark.parametrize("version", found())
async def test_an_interpreter_that_the_plugin_asks_for_is_used(tmp_path: Path, version: str) -> None:
    folder = plugin_folder(tmp_path / "plugin", acceptedPythonInterpreters=[f"PYTHON{version.replace('.', '')}"])
    wanted = await planned(folder, tmp_path / "home")
    assert not wanted.notes
    await built(wanted)
    assert python(wanted, "import sys; print('%d.%d' % sys.version_info[:2])") == version
    await runs_there(wanted, folder)
