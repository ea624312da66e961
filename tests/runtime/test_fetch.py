"""Fetching weights: progress, resuming, checksums, the offline cache, and what is left behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from byom.errors import DestinationDenied
from byom.runtime.fetch.cache import cache_key
from byom.runtime.fetch.download import Retries
from byom.runtime.fetch.errors import ChecksumMismatch, DiskFull, FetchDenied, FetchError, FetchNotFound
from byom.runtime.fetch.fetcher import Fetcher
from byom.runtime.fetch.files import Progress
from byom.runtime.specs.forms import Variant
from byom.types.target import NetworkPolicy
from tests.runtime.web_server import Site, serving

BODY = os.urandom(300_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
FAST = Retries(most=3, first=0.01, longest=0.02)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as site:
        site.files["/tiny.gguf"] = BODY
        site.add_repository(
            "org/tiny", {"config.json": b"{}", "model.safetensors": BODY, "README.md": b"x", "b.Q4.gguf": BODY}
        )
        yield site


@pytest.fixture
async def fetcher(site: Site, tmp_path: Path) -> AsyncIterator[Fetcher]:
    async with Fetcher(tmp_path / "models", environ={"HF_ENDPOINT": site.url}, retries=FAST) as fetcher:
        yield fetcher


def file_at(site: Site, **fields: object) -> Variant:
    return Variant(format="ggufv2", uri=f"{site.url}/tiny.gguf", **fields)  # type: ignore[arg-type]


def on_hub(**fields: object) -> Variant:
    return Variant(**{"format": "pytorch", "model_id": "org/tiny", **fields})  # type: ignore[arg-type]


def left(fetcher: Fetcher) -> list[str]:
    return sorted(path.name for path in fetcher.cache.folder.rglob("*") if path.is_file() and path.name[0] != ".")


async def test_a_file_is_fetched_with_progress_and_then_cached(site: Site, fetcher: Fetcher) -> None:
    seen: list[Progress] = []
    fetched = await fetcher.fetch(file_at(site, checksums={"*": DIGEST}), on_progress=seen.append)
    assert fetched.path.read_bytes() == BODY
    assert seen[-1].done == len(BODY)
    assert seen[-1].fraction == 1.0
    site.requests.clear()
    assert await fetcher.fetch(file_at(site)) == fetched
    assert site.requests == []
    assert left(fetcher) == ["tiny.gguf"]


async def test_what_was_cut_off_is_gone_on_from(site: Site, fetcher: Fetcher) -> None:
    site.cut_after = [100_000, 50_000]
    fetched = await fetcher.fetch(file_at(site, checksums={"*": DIGEST}))
    assert fetched.path.read_bytes() == BODY
    assert [headers.get("range") for _, headers in site.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert left(fetcher) == ["tiny.gguf"]


async def test_a_server_without_ranges_begins_anew(site: Site, fetcher: Fetcher) -> None:
    site.ranges = False
    site.cut_after = [100_000]
    assert (await fetcher.fetch(file_at(site))).path.read_bytes() == BODY


async def test_a_file_that_changed_meanwhile_begins_anew(site: Site, fetcher: Fetcher) -> None:
    site.cut_after = [100_000] + [0] * 10
    with pytest.raises(FetchError, match="is kept, and the next try goes on"):
        await fetcher.fetch(file_at(site))
    site.cut_after = []
    site.files["/tiny.gguf"] = changed = os.urandom(200_000)
    assert (await fetcher.fetch(file_at(site))).path.read_bytes() == changed


async def test_a_try_of_another_day_goes_on(site: Site, fetcher: Fetcher) -> None:
    site.cut_after = [120_000] + [0] * 10
    with pytest.raises(FetchError):
        await fetcher.fetch(file_at(site))
    assert left(fetcher) == ["tiny.gguf.part", "tiny.gguf.part.etag"]
    site.cut_after, site.requests = [], []
    await fetcher.fetch(file_at(site, checksums={"*": DIGEST}))
    assert site.requests[0][1]["range"] == "bytes=120000-"


async def test_a_wrong_checksum_is_told_and_the_file_deleted(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(ChecksumMismatch, match=f"SHA-256 {DIGEST} instead of 0000"):
        await fetcher.fetch(file_at(site, checksums={"*": "0" * 64}))
    assert left(fetcher) == []


async def test_a_passing_failure_of_the_server_is_tried_again(site: Site, fetcher: Fetcher) -> None:
    site.statuses = [503, 429]
    assert (await fetcher.fetch(file_at(site))).path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [(404, FetchNotFound, "Check the name"), (403, FetchDenied, "HF_TOKEN"), (410, FetchError, "answers 410")],
)
async def test_a_refusal_says_what_to_do(
    site: Site, fetcher: Fetcher, status: int, kind: type[Exception], says: str
) -> None:
    site.statuses = [status]
    with pytest.raises(kind, match=says):
        await fetcher.fetch(file_at(site))
    assert left(fetcher) == []


async def test_a_repository_is_fetched_without_what_is_not_needed(site: Site, fetcher: Fetcher) -> None:
    fetched = await fetcher.fetch(on_hub())
    assert left(fetcher) == ["config.json", "model.safetensors"]
    assert fetched.path.name == "hf--org--tiny"
    gguf = await fetcher.fetch(on_hub(format="ggufv2", file_name="b.Q4.gguf", quantization="Q4"))
    assert gguf.path == fetched.path / "b.Q4.gguf"


async def test_a_missing_file_of_a_repository_is_told_with_those_it_has(fetcher: Fetcher) -> None:
    with pytest.raises(FetchNotFound, match=r"no file b.Q9.gguf. It has: b.Q4.gguf"):
        await fetcher.fetch(on_hub(format="ggufv2", file_name="b.Q9.gguf", quantization="Q9"))


async def test_a_file_of_the_hub_that_is_not_what_it_says_is_refused(site: Site, fetcher: Fetcher) -> None:
    files = {"config.json": b"{}", "model.safetensors": BODY}
    site.add_repository("org/bad", files, digests={"model.safetensors": "1" * 64})
    with pytest.raises(ChecksumMismatch):
        await fetcher.fetch(on_hub(model_id="org/bad"))
    with pytest.raises(FetchNotFound):
        await Fetcher(fetcher.cache.folder, environ={}, offline=True).fetch(on_hub(model_id="org/bad"))


async def test_what_is_here_is_used_offline(site: Site, fetcher: Fetcher) -> None:
    fetched = await fetcher.fetch(on_hub())
    async with Fetcher(fetcher.cache.folder, environ={"HF_HUB_OFFLINE": "1"}) as offline:
        assert await offline.fetch(on_hub()) == fetched
        with pytest.raises(FetchNotFound, match="the hub is offline"):
            await offline.fetch(on_hub(model_id="org/other"))


async def test_a_token_goes_to_the_hub_and_not_where_it_redirects_to(site: Site, tmp_path: Path) -> None:
    with serving(Site()) as store:
        store.files = dict(site.files)
        site.token, site.redirect_to = "hf_secret", store.url.replace("127.0.0.1", "localhost")
        environ = {"HF_ENDPOINT": site.url, "HF_TOKEN": "hf_secret"}
        async with Fetcher(tmp_path / "models", environ=environ, retries=FAST) as fetcher:
            await fetcher.fetch(on_hub())
        assert {headers.get("authorization") for _, headers in site.requests} == {"Bearer hf_secret"}
        assert store.requests
        assert all("authorization" not in headers for _, headers in store.requests)
        assert "hf_secret" not in repr(fetcher.__dict__["_hub"])


async def test_a_gated_repository_says_that_a_token_is_needed(site: Site, fetcher: Fetcher) -> None:
    site.token = "hf_secret"
    with pytest.raises(FetchDenied, match="HF_TOKEN"):
        await fetcher.fetch(on_hub())


async def test_cancelling_keeps_the_part_alone(site: Site, fetcher: Fetcher) -> None:
    site.hold = threading.Event()
    half = asyncio.Event()
    task = asyncio.ensure_future(fetcher.fetch(file_at(site), on_progress=lambda progress: half.set()))
    await asyncio.wait_for(half.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(fetcher) == ["tiny.gguf.part", "tiny.gguf.part.etag"]
    site.hold.set()
    site.hold = None
    assert (await fetcher.fetch(file_at(site))).path.read_bytes() == BODY


async def test_a_full_disk_is_told_before_anything_is_fetched(
    site: Site, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(DiskFull, match="are needed, 0 MiB are free"):
        await fetcher.fetch(on_hub())
    assert not any("/resolve/" in path for path in site.paths())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
async def test_a_disk_that_fills_up_meanwhile_is_told_and_the_part_kept(site: Site, tmp_path: Path) -> None:
    full = Path("/dev/full")
    async with Fetcher(tmp_path / "models", environ={}, retries=FAST) as fetcher:
        variant = file_at(site)
        folder = fetcher.cache.place(variant)
        folder.mkdir(parents=True)
        (folder / "tiny.gguf.part").symlink_to(full)
        with pytest.raises(DiskFull, match="is full"):
            await fetcher.fetch(variant)
        assert not (folder / "tiny.gguf").exists()


async def test_two_fetches_of_one_model_fetch_it_once(site: Site, fetcher: Fetcher) -> None:
    first, second = await asyncio.gather(fetcher.fetch(on_hub()), fetcher.fetch(on_hub()))
    assert first == second
    assert sum(path.endswith("model.safetensors") for path in site.paths()) == 1


async def test_a_folder_at_a_web_address_is_fetched_by_the_usual_names(site: Site, fetcher: Fetcher) -> None:
    site.files |= {"/m/config.json": b"{}", "/m/tokenizer.json": b"{}", "/m/model.safetensors": BODY}
    fetched = await fetcher.fetch(Variant(format="pytorch", uri=f"{site.url}/m"))
    assert sorted(path.name for path in fetched.path.iterdir() if path.name[0] != ".") == [
        "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


async def test_addresses_that_the_policy_forbids_are_not_reached(site: Site, tmp_path: Path) -> None:
    policy = NetworkPolicy(allow_loopback=False)
    async with Fetcher(tmp_path, environ={}, policy=policy, retries=FAST) as fetcher:
        with pytest.raises(DestinationDenied):
            await fetcher.fetch(file_at(site))
        with pytest.raises(DestinationDenied):
            await fetcher.fetch(Variant(format="ggufv2", uri="http://169.254.169.254/latest/x.gguf"))
    assert site.requests == []


async def test_the_cache_lists_and_removes(site: Site, fetcher: Fetcher) -> None:
    await fetcher.fetch(on_hub())
    (cached,) = fetcher.cache.list()
    assert (cached.source, cached.complete, cached.key) == ("hf://org/tiny", True, cache_key(on_hub()))
    assert fetcher.cache.remove(cached.key) == cached.size_bytes
    assert fetcher.cache.list() == ()


async def test_a_local_path_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(BODY)
    async with Fetcher(tmp_path / "models", environ={}) as fetcher:
        assert (await fetcher.fetch(Variant(format="ggufv2", uri=str(tmp_path / "a.gguf")))).path == tmp_path / "a.gguf"
        with pytest.raises(FetchNotFound, match="not there any more"):
            await fetcher.fetch(Variant(format="ggufv2", uri=str(tmp_path / "gone.gguf")))
