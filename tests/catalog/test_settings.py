from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from byom.catalog.catalog import Catalog
from byom.errors import ConfigError
from byom.settings import Settings, is_loopback, load_settings

from .conftest import ME


def test_everything_has_a_default(tmp_path: Path) -> None:
    settings = load_settings(environ={"BYOM_HOME": str(tmp_path)})
    assert (settings.host, settings.port, settings.workers, settings.no_auth) == ("127.0.0.1", 8420, 1, False)
    assert settings.database == f"sqlite:///{tmp_path}/byom.db"
    assert settings.key_file == tmp_path / "secret.key"
    assert settings.trusted_hosts == ()


def test_the_home_folder_is_in_the_users_own_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(environ={}).home == tmp_path / ".byom"


def test_flags_go_before_variables_and_those_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "byom.toml").write_text('[server]\nport = 1\nworkers = 2\nlog_format = "json"\n')
    environ = {
        "BYOM_HOME": str(tmp_path),
        "BYOM_PORT": "3",
        "BYOM_WORKERS": "4",
        "BYOM_TRUSTED_HOSTS": "a, b",
    }
    settings = load_settings({"port": 5, "workers": None}, environ=environ)
    assert (settings.port, settings.workers, settings.log_format) == (5, 4, "json")
    assert settings.trusted_hosts == ("a", "b")


def test_another_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[server]\nport = 1\n")
    environ = {"BYOM_HOME": str(tmp_path), "BYOM_CONFIG": str(tmp_path / "other.toml")}
    assert load_settings(environ=environ).port == 1
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(environ={"BYOM_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "70000", "a TCP port"),
        ("PORT", "http", "a TCP port"),
        ("WORKERS", "0", "a number of processes"),
        ("LOG_FORMAT", "xml", "text or json"),
        ("LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("NO_AUTH", "maybe", "true or false"),
        ("DRAIN_SECONDS", "-1", "0 or more"),
        ("DATABASE_URL", "mysql://x", "sqlite:///path or postgresql://"),
    ],
)
def test_a_bad_value_is_told_with_the_settings_name_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={f"BYOM_{name}": value})
    assert caught.value.param == name.lower()
    assert name.lower() in str(caught.value)
    assert allowed in str(caught.value)


def test_an_unknown_setting_in_the_file_is_told_with_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "byom.toml").write_text("[server]\nprot = 1\n")
    with pytest.raises(ConfigError, match="Did you mean port"):
        load_settings({"home": tmp_path}, environ={})


@pytest.mark.parametrize(("host", "allowed"), [
    ("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.9.9.9", True),
    ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False), ("localhost.example.org", False),
])  # fmt: skip
def test_running_without_keys_is_only_for_this_machine(host: str, allowed: bool) -> None:
    assert is_loopback(host) is allowed
    if allowed:
        assert load_settings({"host": host, "no_auth": True}, environ={}).no_auth
        return
    with pytest.raises(ConfigError, match="only allowed on a loopback host"):
        load_settings({"host": host, "no_auth": True}, environ={})


def test_secrets_show_neither_in_the_repr_nor_in_an_error(tmp_path: Path) -> None:
    environ = {"BYOM_SECRET_KEY": "canary-1", "BYOM_DATABASE_URL": "postgresql://u:canary-2@h/n"}
    assert "canary" not in repr(load_settings(environ=environ))
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"BYOM_DATABASE_URL": "mysql://u:canary-2@h/n"})
    assert "canary" not in str(caught.value)
    (tmp_path / "byom.toml").write_text('[server]\nsecret_key = "canary-3"\n')
    with pytest.raises(ConfigError, match="BYOM_SECRET_KEY") as caught:
        load_settings({"home": tmp_path}, environ={})
    assert "canary" not in str(caught.value)


def test_reading_settings_imports_nothing_heavy() -> None:
    program = "import sys, byom.settings; print(sorted({'pydantic', 'sqlalchemy', 'tomllib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_live_settings_take_effect_at_once_and_only_differences_are_kept(catalog: Catalog) -> None:
    form = await catalog.settings.update(
        {"network": {"allow_private": False}, "require_price": True, "unauthenticated_limits": {"concurrency": 2}},
        actor=ME,
    )
    assert form.network.allow_loopback is True
    assert catalog.snapshot.network.allow_private is False
    assert catalog.snapshot.settings.require_price is True
    assert catalog.snapshot.settings.unauthenticated_limits.concurrency == 2
    assert set(catalog.state.settings) == {"network", "require_price", "unauthenticated_limits"}
    await catalog.settings.update({"network": None, "require_price": False, "unauthenticated_limits": None}, actor=ME)
    assert catalog.state.settings == {}
    assert catalog.snapshot.network.allow_private is True


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"keepalive_seconds": 0}, "keepalive_seconds"),
        ({"max_body_bytes": "big"}, "max_body_bytes"),
        ({"network": {"allow_hosts": "x"}}, "network.allow_hosts"),
        ({"default_connection": "nowhere"}, "default_connection"),
        ({"colour": 1}, "colour"),
    ],
)
async def test_a_live_setting_that_makes_no_sense_is_refused(
    local: Catalog, changes: dict[str, object], param: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        await local.settings.update(changes, actor=ME)
    assert caught.value.param == param


def test_settings_made_directly_are_the_same(tmp_path: Path) -> None:
    assert Settings(home=tmp_path) == load_settings({"home": tmp_path}, environ={})
