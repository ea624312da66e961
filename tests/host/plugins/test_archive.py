"""Plugins in zip files, well and ill meant."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from byom.host.plugins.archive import install, unpack
from byom.host.plugins.folder import digest_of, read
from byom.host.plugins.problems import PluginError
from tests.host.plugins import samples

MANIFEST = ("plugin.json", '{"id": "x"}')
MODEL = (
    ("python-llms/c/llm.json", "{}"),
    ("python-llms/c/llm.py", "from dataiku.llm.python import BaseLLM\nclass M(BaseLLM):\n    pass\n"),
)


def zipped(tmp_path: Path, *entries: tuple[str | zipfile.ZipInfo, str | bytes]) -> Path:
    path = tmp_path / "plugin.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_a_zipped_folder_is_the_folder(tmp_path: Path) -> None:
    folder = samples.typesafe(tmp_path / "typesafe")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = zipped(tmp_path, *((one.relative_to(folder).as_posix(), one.read_bytes()) for one in files))
    unpacked = unpack(path, tmp_path / "home" / "plugins" / "typesafe")
    assert read(unpacked).id == "typesafe"
    assert digest_of(unpacked) == digest_of(folder)
    assert [one.name for one in unpacked.parent.iterdir()] == ["typesafe"]


def test_versions_are_installed_side_by_side_and_the_same_one_once(tmp_path: Path) -> None:
    first = zipped(tmp_path, MANIFEST, *MODEL)
    plugin = install(first, tmp_path / "home")
    assert plugin.folder == tmp_path / "home" / "plugins" / f"x-{plugin.digest[:12]}"
    assert install(first, tmp_path / "home").folder == plugin.folder
    other = install(zipped(tmp_path, MANIFEST, *MODEL, ("resource/a", "1")), tmp_path / "home")
    assert sorted((tmp_path / "home" / "plugins").iterdir()) == sorted([plugin.folder, other.folder])


def test_a_plugin_that_cannot_be_used_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="the plugin has no model"):
        install(zipped(tmp_path, MANIFEST), tmp_path / "home")
    assert list((tmp_path / "home" / "plugins").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:evil", "c:/evil", "a/../b", "nul", "aux.txt", "x/con.py"],
)
def test_a_name_that_leads_elsewhere_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path, MANIFEST, (name, "evil"))
    with pytest.raises(PluginError, match="leads out of the folder"):
        unpack(path, tmp_path / "into" / "x")
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["into", "plugin.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_a_link_or_a_device_is_refused(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("python-lib")
    entry.external_attr = (kind | 0o777) << 16
    with pytest.raises(PluginError, match="is a link or a device"):
        unpack(zipped(tmp_path, MANIFEST, (entry, "/etc")), tmp_path / "x")


def test_more_bytes_than_allowed_are_refused_while_they_come(tmp_path: Path) -> None:
    path = zipped(tmp_path, MANIFEST, ("big", b"\0" * 5_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(PluginError, match="too large"):
        unpack(path, tmp_path / "into" / "x", largest=1_000_000)
    assert list((tmp_path / "into").iterdir()) == []


def test_an_entry_that_lies_about_its_size_does_no_harm(tmp_path: Path) -> None:
    path = zipped(tmp_path, MANIFEST, ("big", b"\0" * 3_000_000))
    content = bytearray(path.read_bytes())
    size = (3_000_000).to_bytes(4, "little")
    while (at := content.find(size)) >= 0:
        content[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(PluginError):
        unpack(path, tmp_path / "into" / "x", largest=1_000_000)
    assert list((tmp_path / "into").iterdir()) == []


def test_more_files_than_allowed_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, MANIFEST, *((f"f{number}", "") for number in range(20)))
    with pytest.raises(PluginError, match="more than 10 entries"):
        unpack(path, tmp_path / "x", most_files=10)


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([("top/plugin.json", "{}")], "plugin.json is at 'top/plugin.json'. Zip the content"),
        ([("readme", "")], "there is no plugin.json in it"),
        ([MANIFEST, ("a", ""), ("A", "")], "is in it twice"),
        ([MANIFEST, ("a", ""), ("a/b", "")], "is a file and a folder"),
    ],
)
def test_what_is_no_plugin_is_said(tmp_path: Path, entries: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(PluginError) as caught:
        unpack(zipped(tmp_path, *entries), tmp_path / "x")
    assert told in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"not a zip at all"])
def test_what_is_no_zip_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plugin.zip"
    path.write_bytes(content)
    with pytest.raises(PluginError, match="cannot be unpacked"):
        unpack(path, tmp_path / "x")


def test_a_damaged_zip_leaves_nothing(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(*MANIFEST)
        archive.writestr("a", bytes(range(256)) * 50)
    content = bytearray(stream.getvalue())
    content[120:140] = b"\xff" * 20
    path = tmp_path / "plugin.zip"
    path.write_bytes(content)
    with pytest.raises(PluginError):
        unpack(path, tmp_path / "into" / "x")
    assert list((tmp_path / "into").iterdir()) == []
