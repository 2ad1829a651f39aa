"""What a rolling deploy is made of: workers of two versions at one store, clients, an operator, and the books."""

import asyncio
import json
from collections import Counter as Tally
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.statuses import Status
from budget_middleware.stores.redis import RedisStore
from tests.e2e.servers import REPOSITORY
from tests.faults.gateway import USD, Gateway, actual_nanos, running_gateway
from tests.rolling.versions import Version
from tests.stores.verbs import whole_journal

CLIENTS = 4
WORDS, PROMPT = 7, 30
PERIODS = ("day", "month")
GLOBAL = "global"
SETTINGS = {
    "limits": "key=1000/day; key=9000/month; global=100000/month",
    # An expiry books something, so that one that a version forgets, or does twice, shows.
    "on_expire": "estimate",
    "lease_s": "3",
    "remember_s": "3600",
    # Two cores serve all workers and their clients: what is slow must not count as a store away.
    "store_timeout_s": "5",
    "journal_max": "1000000",
}


def account(payer: str) -> str:
    return f"key:{key_id(f'sk-{payer}')}"


@dataclass
class Held:
    """A stream in flight, of which the first word has come."""

    id: str
    payer: str
    estimate_nanos: int
    reader: asyncio.StreamReader


@dataclass
class Deploy:
    """Workers come and go; what was served, expired and adjusted is what the counters must show at the end."""

    folder: Path
    store_url: str
    newest: Version
    """Who audits, and whose workers settle what an older version cannot read."""
    store: RedisStore
    """The test's own way to the server, by the code of this process, which is the newest."""
    _stack: AsyncExitStack
    _started: list[Gateway] = field(default_factory=list)
    _rotation: list[Gateway] = field(default_factory=list)
    _in_flight: Tally[Path] = field(default_factory=Tally)
    _booked_beside: Tally[str] = field(default_factory=Tally)
    answered: Tally[int] = field(default_factory=Tally)

    # Workers.

    async def start(self, version: Version, **settings: str) -> Gateway:
        """A worker, in rotation from now on."""
        started = running_gateway(
            self.folder, {"store_url": self.store_url, **SETTINGS, **settings}, command=_worker, tree=version.tree
        )
        gateway = await asyncio.to_thread(self._stack.enter_context, started)
        self._started.append(gateway)
        self._rotation.append(gateway)
        return gateway

    async def take_out(self, gateway: Gateway) -> None:
        """No client asks it any more, and all that asked have their answers."""
        self._rotation.remove(gateway)
        async with asyncio.timeout(60):
            while self._in_flight[gateway.socket]:
                await asyncio.sleep(0.02)

    async def hold(self, gateway: Gateway, payer: str, *, gate: str) -> Held:
        """A stream that goes on when the gate is opened."""
        ask = gateway.open(key=payer, **_ask("stream", payer, gate=self.folder / gate))
        reply, reader = await self._stack.enter_async_context(ask)
        assert reply.status == 200, reply
        await reader.readuntil(b"\n\n")
        estimate_nanos = int(Decimal(reply.headers["x-budget-estimate-usd"]) * USD)
        return Held(reply.headers["x-budget-reservation-id"], payer, estimate_nanos, reader)

    async def open_gate(self, gate: str, *held: Held) -> None:
        """Let the streams end, and read them to their ends."""
        (self.folder / gate).touch()
        for each in held:
            assert b"[DONE]" in await each.reader.read()

    # Clients.

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Clients that ask whichever worker is in rotation."""
        numbers, over = count(), asyncio.Event()
        (self.folder / "open").touch()
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client(numbers, over))
            try:
                yield
            finally:
                over.set()

    async def _client(self, numbers: "count[int]", over: asyncio.Event) -> None:
        while not over.is_set():
            number = next(numbers)
            gateway = self._rotation[number % len(self._rotation)]
            payer, play = f"p{number % 5}", ("json", "stream")[number // 5 % 2]
            self._in_flight[gateway.socket] += 1
            try:
                reply = await gateway.ask(key=payer, **_ask(play, payer, gate=self.folder / "open"))
                self.answered[reply.status] += 1
            except (OSError, asyncio.IncompleteReadError):
                """It is on its way out; a client's balancer tries the next one."""
            finally:
                self._in_flight[gateway.socket] -= 1
            # Some 40 requests a second: a machine that is busy with as many as it can serve, starts no worker.
            await asyncio.sleep(0.1)

    async def ask_once(self, gateway: Gateway, payer: str) -> int:
        """The status of one answer."""
        return (await gateway.ask(key=payer, **_ask("json", payer, gate=self.folder / "open"))).status

    # An operator.

    async def operate(self, version: Version, *words: str) -> tuple[int, str, str]:
        """A command of that version's command line: exit code, output, complaint."""
        env = {f"BUDGET_{name.upper()}": value for name, value in {"store_url": self.store_url, **SETTINGS}.items()}
        ran = await asyncio.to_thread(partial(version.run, *words, settings=env))
        return ran.returncode, ran.stdout, ran.stderr

    async def adjust(self, version: Version, payer: str, *, nanos: int) -> None:
        usd = Decimal(nanos) / USD
        told = await self.operate(version, "adjust", account(payer), f"{usd:f}", "--reason", "a test", "--new")
        assert told[0] == 0, told
        self._booked_beside[account(payer)] += nanos

    async def audit(self) -> None:
        """Beside live traffic too, and up from zero: nothing of the journal was trimmed."""
        code, out, complaint = await self.operate(self.newest, "audit", "--json")
        assert code == 0, f"{out}{complaint}"
        report = json.loads(out)
        assert (report["unproved"], report["proved_in_part"]) == (0, 0), out

    # The books.

    def expect_expired(self, *held: Held) -> None:
        """Their worker was killed, so they are charged what was agreed for that."""
        for each in held:
            self._booked_beside[account(each.payer)] += each.estimate_nanos
            self._booked_beside[GLOBAL] += each.estimate_nanos

    async def holds(self) -> set[str]:
        return {hold.id for hold in await self.store.holds()}

    async def until_expired(self, *held: Held) -> None:
        """Until the journal has it of each; one whose lease is over is no hold any more, and is booked after that."""
        async with asyncio.timeout(60):
            while not all(Status.EXPIRED in statuses for statuses in await self.outcomes(held)):
                await asyncio.sleep(0.1)

    async def until_nothing_is_held(self) -> None:
        async with asyncio.timeout(60):
            while await self.holds():
                await asyncio.sleep(0.1)

    async def outcomes(self, held: Sequence[Held]) -> list[list[str]]:
        """What the journal tells of each, in its order."""
        # A dictionary in place of a set: each counter has an entry, and the order counts.
        found: dict[str, dict[str, None]] = {each.id: {} for each in held}
        for entry in await whole_journal(self.store):
            found.get(entry.reservation_id, {})[entry.status] = None
        return [list(statuses) for statuses in found.values()]

    async def check_books(self) -> None:
        """Every counter shows what was served, expired and adjusted, to the nano-dollar, and reserves nothing."""
        shown: Tally[tuple[str, str]] = Tally()
        code, out, complaint = await self.operate(self.newest, "status", "--all", "--json")
        assert code == 0, complaint
        for row in json.loads(out):
            shown[row["account"], row["period"]] += int(Decimal(row["spent_usd"]) * USD)
            assert Decimal(row["reserved_usd"]) == 0, row
        booked, expected = {place: nanos for place, nanos in shown.items() if nanos}, self._expected()
        assert booked == expected, {
            place: (booked.get(place), expected.get(place))
            for place in booked.keys() | expected.keys()
            if booked.get(place) != expected.get(place)
        }

    def _expected(self) -> Mapping[tuple[str, str], int]:
        owed = self._booked_beside.copy()
        for served in (line for gateway in self._started for line in gateway.served()):
            nanos = actual_nanos(words=served["words"], prompt=served["prompt"])
            owed[account(served["payer"])] += nanos
            owed[GLOBAL] += nanos
        return {
            (name, period): nanos
            for name, nanos in owed.items()
            for period in (("month",) if name == GLOBAL else PERIODS)
        }


def _worker(socket: Path, grace_s: int) -> list[str]:
    listen = ["--uds", str(socket), "--timeout-graceful-shutdown", str(grace_s), "--log-level", "warning"]
    return ["uvicorn", "versioned_worker:app", "--app-dir", str(REPOSITORY / "tests" / "rolling"), *listen]


def _ask(play: str, payer: str, *, gate: Path) -> dict:
    return {"play": play, "words": WORDS, "prompt": PROMPT, "payer": payer, "gate": str(gate), "max_tokens": 500}
