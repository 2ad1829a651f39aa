"""A store that cannot do the work is told at start-up, with its cause and the fix, in one line."""

import asyncio
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from starlette.testclient import TestClient

from budget_middleware import BudgetMiddleware
from budget_middleware.settings import SettingsError
from budget_middleware.stores.errors import WrongServer
from budget_middleware.stores.redis import RedisStore, lua_text
from tests.e2e.servers import REPOSITORY, UnixValkey

SCRIPTS = REPOSITORY / "budget_middleware" / "stores" / "lua"


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator:
    started: list[UnixValkey] = []

    def start(**config: str) -> str:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        config = {name.replace("_", "-"): value for name, value in config.items()}
        started.append(UnixValkey(folder, config=config))
        started[-1].start()
        return started[-1].url

    yield start
    for server in started:
        server.terminate()


async def a_replica(start_server) -> str:
    return start_server(replicaof="127.0.0.1 1")


async def a_cluster_node(start_server) -> str:
    return start_server(cluster_enabled="yes")


async def a_full_server(start_server) -> str:
    url = start_server()
    async with Redis.from_url(url) as admin:
        await admin.config_set("maxmemory", "1mb")
    return url


async def a_user_without_scripts(start_server) -> str:
    return await _as_user(start_server(), "+@all", "-@scripting")


async def a_user_without_sorted_sets(start_server) -> str:
    return await _as_user(start_server(), "+@all", "-zadd")


async def a_user_without_our_keys(start_server) -> str:
    return await _as_user(start_server(), "+@all", keys="~other:*")


async def a_wrong_password(start_server) -> str:
    await _as_user(url := start_server(), "+@all")
    return url.replace("unix://", "unix://alice:wrong@")


async def _as_user(url: str, *rights: str, keys: str = "~*") -> str:
    async with Redis.from_url(url) as admin:
        await admin.execute_command("ACL", "SETUSER", "alice", "on", ">secret", keys, "&*", *rights)
    return url.replace("unix://", "unix://alice:secret@")


WRONG = [
    (a_replica, "a read-only replica", "point BUDGET_STORE_URL at the primary"),
    (a_cluster_node, "the cluster does not serve the keys", "see CLUSTER INFO"),
    (a_full_server, "no memory left", "raise maxmemory"),
    (a_user_without_scripts, "lacks rights", "ACL SETUSER"),
    (a_user_without_sorted_sets, "lacks rights", "ACL SETUSER"),
    (a_user_without_our_keys, "lacks rights", "ACL SETUSER"),
    (a_wrong_password, "another password", "correct user and password"),
]


@pytest.mark.parametrize(("wrong", "cause", "fix"), WRONG)
async def test_f64_a_store_that_cannot_work_is_told_by_cause(start_server, wrong, cause: str, fix: str):
    store = RedisStore(await wrong(start_server), timeout_s=5)
    with pytest.raises(WrongServer) as told:
        await store.check()
    assert cause in told.value.cause
    assert fix in told.value.fix
    assert "\n" not in str(told.value)
    assert "secret" not in str(told.value)
    await store.aclose()


@pytest.mark.parametrize("wrong", [a_replica, a_user_without_scripts])
async def test_f64_a_server_that_is_to_fail_does_not_start(start_server, wrong):
    guard = BudgetMiddleware(_no_app, store_url=await wrong(start_server), store_check="fail", store_timeout_s="5")
    with pytest.raises(SettingsError, match=r"^BUDGET_STORE_URL=unix://\S+: .*;"), TestClient(guard):
        pass


async def test_a_warning_is_one_line_and_the_server_starts(start_server, caplog: pytest.LogCaptureFixture):
    guard = BudgetMiddleware(_no_app, store_url=await a_replica(start_server), store_timeout_s="5")
    with TestClient(guard):
        pass
    (told,) = [record.getMessage() for record in caplog.records if "BUDGET_STORE_URL=" in record.getMessage()]
    assert "a read-only replica" in told
    assert told.endswith("until then BUDGET_ON_STORE_ERROR=local decides")


@pytest.mark.parametrize("policy", ["warn", "fail", "off"])
async def test_a_good_store_is_told_nothing_and_keeps_nothing(
    server_url: str, namespace: str, caplog: pytest.LogCaptureFixture, policy: str
):
    guard = BudgetMiddleware(_no_app, store_url=server_url, namespace=namespace, store_check=policy)
    with TestClient(guard):
        pass
    assert not [record for record in caplog.records if "BUDGET_STORE_URL=" in record.getMessage()]
    async with Redis.from_url(server_url) as admin:
        assert not [key async for key in admin.scan_iter(f"{{{namespace}}}:check*")]


def self_signed(folder: Path) -> tuple[Path, Path]:
    """The files of a key and its certificate, which no authority has signed."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, "-days", "1", "-subj", "/CN=localhost"], check=True, capture_output=True)
    return key, certificate


async def test_a_certificate_that_is_not_trusted(tmp_path: Path):
    key, certificate = self_signed(tmp_path)

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    store = RedisStore(f"rediss://127.0.0.1:{port}", timeout_s=5)
    with pytest.raises(WrongServer, match=r"certificate is not trusted here .*ssl_ca_certs="):
        await store.check()
    await store.aclose()
    server.close()


def test_the_check_tries_every_command_that_the_scripts_use():
    used = {
        command
        for path in SCRIPTS.glob("*.lua")
        for command in re.findall(r"\b(?:call|pcall)\('([A-Z]+)'", path.read_text())
    }
    tried = set(re.findall(r"\bcall\('([A-Z]+)'", lua_text("check")))
    assert used - tried == {"TIME"}, "TIME is asked for by each script"


async def _no_app(scope, receive, send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
