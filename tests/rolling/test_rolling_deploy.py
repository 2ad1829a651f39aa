"""A deploy that replaces one version of the code by another while requests run: no counter is off by a nano-dollar.

Both directions are played by the real code of both versions: an upgrade, and the rollback that undoes it. In each the
first two workers are of the version that goes. One loses the store, ends its streams, and leaves their costs on disk;
one is paused until its leases are over, goes on, and is killed in the end. What they leave is settled by the other
version; where that one is older and cannot read it, nothing is booked until a worker of the newer version comes back.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import REPOSITORY
from tests.faults.fixtures import Server
from tests.faults.gateway import USD, Gateway
from tests.faults.proxy import FaultProxy
from tests.rolling.deploy import Deploy, Held, account
from tests.rolling.versions import PREVIOUS_COMMIT, Version, unpack

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

NEWEST = Version("newest", REPOSITORY, format=2)
IN_TIME = ["reserved", "finalized"]
EXPIRED = ["reserved", "expired"]
LATE = ["reserved", "expired", "finalized_late"]


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return Version("previous", unpack(PREVIOUS_COMMIT, tmp_path_factory.mktemp("previous")), format=1)


@pytest.fixture
async def deploy(server: Server, tmp_path: Path) -> AsyncIterator[Deploy]:
    store = RedisStore(server.url, timeout_s=30)
    async with AsyncExitStack() as stack:
        yield Deploy(tmp_path, server.url, NEWEST, store, stack)
    await store.aclose()


@dataclass
class Change:
    """From one version to another."""

    going: Version
    coming: Version


@pytest.fixture(params=["upgrade", "rollback"])
def change(request: pytest.FixtureRequest, previous: Version) -> Change:
    return Change(previous, NEWEST) if request.param == "upgrade" else Change(NEWEST, previous)


async def test_a_deploy_under_load_in_either_direction(
    change: Change, deploy: Deploy, proxy: FaultProxy, tmp_path: Path
):
    spool = tmp_path / "spool"
    cut_off = await deploy.start(change.going, store_url=proxy.url, spool_path=str(spool), drain_timeout_s="1")
    paused = await deploy.start(change.going)
    async with deploy.load():
        across = [await deploy.hold(cut_off, f"s{number}", gate="across") for number in range(5)]
        newcomer = await deploy.start(change.coming, spool_path=str(spool))
        await an_operator_of_each_version_works(change, deploy, cut_off, newcomer)
        await deploy.audit()

        left_on_disk = await leave_endings_on_disk(deploy, cut_off, across, proxy, spool)
        late = await pause_beyond_the_leases(change, deploy, paused)
        killed = await kill(deploy, paused)
        await deploy.audit()
        await deploy.start(NEWEST, spool_path=str(spool))
        await deploy.audit()
        # Workers sweep, and look for what others left, as long as somebody asks them.
        await deploy.until_expired(*killed)
        await until_adopted(left_on_disk)

    await deploy.until_nothing_is_held()
    await deploy.check_books()
    await deploy.audit()
    # Where nobody else expired them, the paused worker may have been the first that saw that they were over.
    expected = [LATE] if change.coming.reads(change.going) else [LATE, IN_TIME]
    assert all(outcome in expected for outcome in await deploy.outcomes(late))
    assert await deploy.outcomes(killed) == [EXPIRED] * 3
    # A file that is found again, from a backup of the disk say.
    left_on_disk.restore()
    async with deploy.load():
        await until_adopted(left_on_disk)
    await deploy.until_nothing_is_held()
    await deploy.check_books()
    await deploy.audit()
    assert set(deploy.answered) == {200}
    assert deploy.answered[200] > 200, "too little load to prove much"


async def an_operator_of_each_version_works(change: Change, deploy: Deploy, going: Gateway, coming: Gateway) -> None:
    """On holds, counters and limits of the other version."""
    of_going = await deploy.hold(going, "r0", gate="released")
    of_coming = await deploy.hold(coming, "r1", gate="released")
    await release(deploy, change.coming, of_going, is_read=change.coming.reads(change.going))
    await release(deploy, change.going, of_coming, is_read=change.going.reads(change.coming))
    # Their requests go on, and are charged what they cost after all.
    await deploy.open_gate("released", of_going, of_coming)

    await deploy.adjust(change.going, "p0", nanos=USD // 4)
    await deploy.adjust(change.coming, "p0", nanos=-USD // 10)
    await deploy.adjust(change.coming, "new", nanos=1)

    for operator, limit, status in ((change.coming, "0/day", 429), (change.going, "5/day", 200)):
        code, _, complaint = await deploy.operate(operator, "limit", "set", account("tight"), limit, "--new")
        assert code == 0, complaint
        assert [await deploy.ask_once(gateway, "tight") for gateway in (going, coming)] == [status, status]
    # Of limits and terms that the previous version does not know it serves by the amount that it knows.
    previous = change.going if change.coming is NEWEST else change.coming
    for operator, limits, status in ((NEWEST, ("5/day!alert=50", "0/day!shadow"), 200), (previous, ("0/day",), 429)):
        code, _, complaint = await deploy.operate(operator, "limit", "set", account("tight"), *limits)
        assert code == 0, complaint
        assert [await deploy.ask_once(gateway, "tight") for gateway in (going, coming)] == [status, status]
    _, listed, _ = await deploy.operate(NEWEST, "limit", "list")
    assert ("0.00/day!alert=50" in listed, "0.00/day!shadow" in listed) == (True, True)
    code, _, complaint = await deploy.operate(NEWEST, "limit", "clear", account("tight"))
    assert code == 0, complaint


async def release(deploy: Deploy, operator: Version, held: Held, *, is_read: bool) -> None:
    """What an older version cannot read it refuses, in one line, and does not touch."""
    code, _, complaint = await deploy.operate(operator, "release", held.id, "--reason", "a test")
    assert (code == 0) is is_read, complaint
    assert len(complaint.splitlines()) == (0 if is_read else 1), complaint
    assert (held.id in await deploy.holds()) is not is_read


@dataclass
class LeftOnDisk:
    """A copy of what a worker wrote down before it ended."""

    path: Path
    text: str

    def restore(self) -> None:
        """Under another name, as left by yet another process."""
        new = self.path.with_stem("restored").with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.text)
        self.path = new.rename(new.with_suffix(self.path.suffix))


async def leave_endings_on_disk(
    deploy: Deploy, gateway: Gateway, across: list[Held], proxy: FaultProxy, spool: Path
) -> LeftOnDisk:
    """The worker loses the store while clients ask it, its streams end, and it is told to stop."""
    proxy.cut()
    await deploy.open_gate("across", *across)
    async with asyncio.timeout(60):
        while not (
            found := [path for path, text in _written_in(spool).items() if all(each.id in text for each in across)]
        ):
            await asyncio.sleep(0.05)
    await deploy.take_out(gateway)
    left = LeftOnDisk(found[0], _read(found[0]))
    await _end(gateway, signal.SIGTERM)
    return left


async def pause_beyond_the_leases(change: Change, deploy: Deploy, gateway: Gateway) -> list[Held]:
    """The others expire its holds, and it ends them late; an older version leaves them alone."""
    await deploy.take_out(gateway)
    streams = [await deploy.hold(gateway, f"l{number}", gate="late") for number in range(3)]
    gateway.process.send_signal(signal.SIGSTOP)
    if change.coming.reads(change.going):
        await deploy.until_expired(*streams)
    await deploy.audit()
    gateway.process.send_signal(signal.SIGCONT)
    await deploy.open_gate("late", *streams)
    return streams


async def kill(deploy: Deploy, gateway: Gateway) -> list[Held]:
    """With streams in flight, whose leases nobody renews any more."""
    doomed = [await deploy.hold(gateway, f"d{number}", gate="never") for number in range(3)]
    await _end(gateway, signal.SIGKILL)
    deploy.expect_expired(*doomed)
    return doomed


async def until_adopted(left: LeftOnDisk) -> None:
    """Until its endings are somebody else's, and booked."""
    async with asyncio.timeout(60):
        while left.path.exists() or _written_in(left.path.parent):
            await asyncio.sleep(0.05)


def _written_in(folder: Path) -> dict[Path, str]:
    """The files in which something is owed, or was a moment ago."""
    return {path: text for path in folder.iterdir() if (text := _read(path))}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


async def _end(gateway: Gateway, number: signal.Signals) -> None:
    gateway.process.send_signal(number)
    await asyncio.to_thread(gateway.process.wait, 60)
