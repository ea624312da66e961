"""serve, demo, doctor."""

from __future__ import annotations

import json
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx2

from byom.cli.child_hub import READY, child_hub
from byom.server.address import everywhere, url_for_others
from byom.settings import Settings, is_loopback
from tests.cli.program import Program


def test_serve_says_where_it_listens_and_leaves_nothing_behind(byom_alone: Program) -> None:
    home = Path(byom_alone.environ["BYOM_HOME"])
    process = subprocess.Popen(
        [sys.executable, "-m", "byom", "serve", "--port", "0", "--log-level", "warning"],
        env=byom_alone.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix(READY).strip()
    assert str(home / "admin.key") in process.stdout.readline()
    assert json.loads((home / "hub.json").read_text()) == {"pid": process.pid, "url": url}
    assert httpx2.get(f"{url}/livez", trust_env=False).status_code == 200
    assert httpx2.get(f"{url}/v1/models", trust_env=False).status_code == 401
    assert stat.S_IMODE((home / "admin.key").stat().st_mode) == 0o600
    assert "extractive" in byom_alone("models").stdout
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == err == ""
    assert not (home / "hub.json").exists()


def test_serve_on_all_interfaces_says_so_and_how_others_reach_it(byom_alone: Program) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "byom", "serve", "--host", "0.0.0.0", "--port", "0", "--log-level", "warning"],
        env=byom_alone.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix(READY).strip()
    others = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert url.startswith("http://127.0.0.1:")
    assert others.startswith("Other machines reach it ")
    assert f":{url.rpartition(':')[2]} (" in others or "address of this machine" in others
    assert "127.0.0.1" not in others
    assert "all interfaces (0.0.0.0)" in err
    assert "--ssl-certfile" in err


def test_the_address_for_others_is_none_of_this_machine_alone(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "[::]"):
        settings = Settings(home=tmp_path, host=host)
        assert everywhere(settings)
        url = url_for_others(settings, 8420)
        assert url is None or not is_loopback(httpx2.URL(url).host)
    assert not everywhere(Settings(home=tmp_path))


def test_serve_explains_what_is_wrong_with_its_settings(byom_alone: Program) -> None:
    exposed = byom_alone.process("serve", "--no-auth", "--host", "0.0.0.0")
    assert exposed.returncode == 1
    assert "loopback" in exposed.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = byom_alone.process("serve", "--port", str(taken.getsockname()[1]))
    assert busy.returncode == 1
    assert "--port" in busy.stderr
    assert byom_alone.process("serve", "--port", "many").returncode == 2


def test_a_hub_without_keys_is_used_without_one(tmp_path: Path) -> None:
    with child_hub(tmp_path / "home", "--no-auth") as url:
        done = Program({"BYOM_HOME": str(tmp_path / "other"), "BYOM_URL": url})("chat", "extractive", "One sentence.")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_the_demo_is_a_tour_that_ends_well_in_a_few_seconds(byom_alone: Program) -> None:
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = byom_alone.process("demo", http_proxy="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime  # whatever else the machine does
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for expected in (
        "byom connect",
        "byom chat",
        "pieces as they came",
        "alike",
        "429, Retry-After",
        "storyteller",
        "$0.0000",
    ):
        assert expected in done.stdout
    assert "\x1b" not in done.stdout
    assert "sk-workshop" not in done.stdout
    assert not Path(byom_alone.environ["BYOM_HOME"]).exists()
    assert took < 10


def test_doctor_finds_a_good_installation_good(byom_alone: Program, byom: Program) -> None:
    alone = byom_alone.process("doctor")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert "✗" not in alone.stdout
    for name in (
        "python",
        "packages",
        "home",
        "disk",
        "open files",
        "clock",
        "secret files",
        "hub",
        "database",
        "built-in",
    ):
        assert f" {name}" in alone.stdout
    served = json.loads(byom("doctor", "--json").stdout)
    assert served["ok"] is True
    assert any("runs at" in check["message"] for check in served["checks"])


def test_doctor_says_how_to_mend_what_is_wrong(byom_alone: Program) -> None:
    home = Path(byom_alone.environ["BYOM_HOME"])
    assert byom_alone("models").returncode == 0
    (home / "admin.key").chmod(0o644)
    done = byom_alone("doctor")
    assert done.returncode == 1
    assert f"chmod 600 {home / 'admin.key'}" in done.stdout
    (home / "admin.key").chmod(0o600)
    home.chmod(0o755)
    checks = {check["name"]: check for check in json.loads(byom_alone("doctor", "--json").stdout)["checks"]}
    assert checks["home"]["mend"] == f"chmod 700 {home}"
    home.chmod(0o700)
    (home / "byom.db").write_bytes(b"this is no database" * 100)
    broken = byom_alone("doctor")
    assert broken.returncode == 1
    assert "✗ database" in broken.stdout
    assert "Traceback" not in broken.stderr


def test_doctor_takes_the_built_in_models_as_their_owner_left_them(byom_alone: Program, tmp_path: Path) -> None:
    def said() -> str:
        done = byom_alone("doctor", "--json")
        assert done.returncode == 0, done.stdout
        checks = {check["name"]: check["message"] for check in json.loads(done.stdout)["checks"]}
        return str(checks["built-in models"])

    byom_alone("rename", "extractive", "first-steps")
    assert said().startswith("answer (")
    byom_alone("remove", "first-steps", "--yes")
    assert "a vector of" in said()
    byom_alone("edit", "builtin", "--connection", "--disable")
    assert said() == "disabled"
    byom_alone("remove", "builtin", "--connection", "--yes")
    assert "removed from this catalog" in said()
    again = tmp_path / "again.toml"
    again.write_text('[connections.builtin]\nkind = "builtin"\nmodels = ["extractive", "lexical"]\n')
    assert byom_alone("apply", str(again)).returncode == 0
    assert said().startswith("answer (")


def test_doctor_warns_of_a_port_that_another_program_has(byom_alone: Program) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = byom_alone("doctor", BYOM_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 0
    assert "! hub" in done.stdout
