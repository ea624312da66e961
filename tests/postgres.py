"""PostgreSQL for the tests: the server named by BYOM_TEST_POSTGRES_URL, or a temporary one from installed binaries.

`cluster` gives the URL of a server; `fresh_database` a new database on it. URLs have the form that BYOM's own setting
takes: ``postgresql://…``. Where there is no PostgreSQL the tests are skipped with a line, and with CI=true they fail.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

STARTED_WITHIN = 30.0


def binaries() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, newest version first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def unprivileged() -> str | None:
    """PostgreSQL refuses to run as root: the user to run it as, or ``None`` for the present one."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def die_with_parent() -> None:
    """In the child: SIGQUIT when the tests are killed, so that no server outlives them."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


@contextmanager
def temporary_cluster(folder: Path) -> Iterator[str]:
    """A server of its own in ``folder``, reachable through a Unix socket only."""
    user = unprivileged()
    data = folder / "data"
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
    subprocess.run(
        [folder_of_binaries() / "initdb", "-D", data, "-U", "byom", "-A", "trust", "-E", "UTF8", "-N"],
        check=True, capture_output=True, cwd=folder, env=environment, **identity,
    )  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [folder_of_binaries() / "postgres", "-D", data, "-k", folder, "-F", "-c", "listen_addresses=",
             "-c", "full_page_writes=off", "-c", "max_connections=200"],
            stdout=log, stderr=log, cwd=folder, env=environment, preexec_fn=die_with_parent, **identity,
        )  # fmt: skip
    try:
        url = f"postgresql://byom@/postgres?host={folder}"
        run_sql(url, "SELECT 1", patience=STARTED_WITHIN)
        yield url
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(timeout=30)


def folder_of_binaries() -> Path:
    folder = binaries()
    assert folder is not None
    return folder


def run_sql(url: str, statement: str, patience: float = 0.0) -> None:
    """Run one statement outside a transaction, on a loop of its own in a thread of its own."""

    async def work() -> None:
        import asyncpg

        async with asyncio.timeout(patience or 30):
            while True:
                try:
                    connection = await asyncpg.connect(url)
                    break
                except (OSError, asyncpg.CannotConnectNowError):
                    if not patience:
                        raise
                    await asyncio.sleep(0.05)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()


@contextmanager
def cluster() -> Iterator[str]:
    """The URL of a server on which databases can be created."""
    given = os.environ.get("BYOM_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    if binaries() is None:
        reason = "no PostgreSQL here: set BYOM_TEST_POSTGRES_URL or install the package postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="byom-pg-", dir="/tmp"))
    try:
        with temporary_cluster(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of a new, empty database; it is dropped at the end, whoever is still connected."""
    name = f"byom_test_{secrets.token_hex(6)}"
    run_sql(server, f'CREATE DATABASE "{name}"')
    parts = urlsplit(server)
    try:
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        run_sql(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
