"""A managed cluster: one configuration endpoint by name, TLS for every connection, an ACL user with few rights."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from budget_middleware.stores.errors import StoreUnavailable, WrongServer
from budget_middleware.stores.redis import RedisStore
from tests.stores.deployments import Cluster, Node, until
from tests.stores.verbs import LASTING, figures, finalize, reserve

pytestmark = pytest.mark.processes

RIGHTS = ("~{budget}:*", "&{budget}:*", "+@all", "-@dangerous", "+info", "+role")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """All slots; users beside the default one."""
    cluster = Cluster(tmp_path_factory.mktemp("managed"), shards=1)
    node, _ = cluster.nodes
    node.start()
    asyncio.run(_prepare(node))
    yield node
    cluster.stop()


async def _prepare(node: Node) -> None:
    await node("ACL", "SETUSER", "gateway", "on", ">secret", *RIGHTS)
    await node("ACL", "SETUSER", "slotless", "on", ">secret", *RIGHTS, "-cluster")
    await until(lambda: _is_up(node))


async def _is_up(node: Node) -> bool:
    return "cluster_state:ok" in await node("CLUSTER", "INFO")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and its certificate, for `localhost`."""
    folder = tmp_path_factory.mktemp("certified")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    of_localhost = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, "-keyout", key, "-out", certificate, *of_localhost], check=True, capture_output=True)
    return key, certificate


@asynccontextmanager
async def tls_in_front_of(node: Node, key: Path, certificate: Path) -> AsyncIterator[int]:
    """What takes TLS off, as in front of managed servers; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    relayed = set[asyncio.Task[None]]()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", node.port)
        for source, target in ((reader, to_server), (from_server, writer)):
            relayed.add(asyncio.create_task(_copy(source, target)))

    server = await asyncio.start_server(relay, "localhost", 0, family=2, ssl=context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in relayed:
            task.cancel()
        await asyncio.gather(*relayed, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    finally:
        target.close()


async def test_a_configuration_endpoint_with_tls_and_a_user_of_few_rights(node: Node, certified: tuple[Path, Path]):
    async with tls_in_front_of(node, *certified) as port:
        await node("CONFIG", "SET", "cluster-announce-port", port)
        await node("CONFIG", "SET", "cluster-announce-hostname", "localhost")
        await node("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
        url = f"rediss+cluster://gateway:secret@localhost:{port}?ssl_ca_certs={certified[1]}"
        store = RedisStore(url, timeout_s=10)
        await store.check()
        await store.reserve(reserve("r1", "0.60", LASTING))
        await store.finalize(finalize("r1", "0.10", LASTING))
        assert await figures(store, LASTING) == ("0.10", "0.00")
        assert await store.neighbours() == []
        await store.aclose()
    await node("CONFIG", "SET", "cluster-announce-port", 0)
    await node("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")


async def test_a_wrong_password_and_missing_rights_are_told_in_one_line(node: Node):
    for user, words in {"gateway:wrong": "another password", "slotless:secret": "lacks rights"}.items():
        store = RedisStore(f"redis+cluster://{user}@127.0.0.1:{node.port}", timeout_s=5)
        with pytest.raises(WrongServer, match=words) as refused:
            await store.check()
        assert "\n" not in str(refused.value)
        assert "secret" not in str(refused.value)
        await store.aclose()


async def test_seeds_of_which_one_is_dead(node: Node):
    store = RedisStore(f"redis+cluster://gateway:secret@127.0.0.1:1,127.0.0.1:{node.port}", timeout_s=5)
    await store.check()
    await store.aclose()
    store = RedisStore("redis+cluster://127.0.0.1:1,127.0.0.1:2", timeout_s=5)
    with pytest.raises(StoreUnavailable):
        await store.check()
    await store.aclose()
