"""Between the workers and the store: a network that loses, delays, repeats and so reorders what it carries."""

import asyncio
import zlib
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from budget_middleware.core.statuses import Status
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from tests.simulation.hosts import Host, answered
from tests.simulation.loop import Process, outside
from tests.simulation.plan import CallFault, Fault, Plan
from tests.simulation.witness import VERBS, Violation, Witness

REPLY_TIMEOUT_S = 0.5
"""As on the real store's wire: silence for so long is an error."""

_CALM = CallFault(-1, Fault.DELAYED, 0)

_ENDINGS = frozenset({"finalize", "release"})
_HOLDS_NOTHING = frozenset({Status.REJECTED, Status.STALE_WINDOW, Status.STALE_LIMITS, Status.LEASES_DUE})


@dataclass(frozen=True, slots=True)
class Message:
    """One call on its way; ``about`` is the number of the request, 0 where it is of none."""

    sender: Process
    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    about: int
    nth: int
    fault: CallFault
    latency_s: tuple[float, float]

    def __str__(self) -> str:
        subject = f"#{self.about}" if self.about else ""
        return f"{self.sender.name}: {self.name}{subject} (call {self.nth})"


class Link:
    """A process's own connection: it has the methods of a store."""

    ends_when_cancelled = True

    def __init__(self, process: Process, network: "Network") -> None:
        self._process = process
        self._network = network
        self._time_limit = SharedTimeout(REPLY_TIMEOUT_S)

    def is_silent(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **options: Any) -> Any:
            if self._process.is_cut:
                raise StoreUnavailable("this process is dead")
            reply = asyncio.get_running_loop().create_future()
            self._network.send(self._process, name, arguments, options, reply)
            try:
                with self._time_limit.timeout():
                    return await reply
            except TimeoutError as error:
                raise StoreUnavailable("no reply") from error

        return call

    async def aclose(self) -> None:
        """Nothing is held open."""


class Network:
    """``tell`` takes the words of a line of the story. After `calm_down` nothing new goes wrong."""

    def __init__(self, plan: Plan, host: Host, witness: Witness, tell: Callable[..., None]) -> None:
        self.faults_met: Tally[str] = Tally()
        self.slow_ms = 0
        self.violation: Violation | None = None
        self.repeated_refusals: set[int] = set()
        self._repeated_reserves: set[int] = set()
        self.unanswered: set[int] = set()
        self.writers: dict[tuple[int, str], Message] = {}
        self._seed = plan.seed
        self._host = host
        self._witness = witness
        self._tell = tell
        self._down_until_s = 0.0
        self._is_calm = self._is_closed = False
        self._arrived_s = 0.0
        self._calls: Tally[object] = Tally()
        self._faults = {
            **{(r.number, f.nth): f for r in (*plan.requests, *plan.jobs) for f in r.faults},
            **{(f"w{worker}", f.nth): f for worker, f in plan.house_faults},
        }

    @property
    def under_way_s(self) -> float:
        """How long it takes until the last call that is on its way has arrived."""
        return max(0.0, self._arrived_s - asyncio.get_running_loop().time())

    def close(self) -> None:
        """What is still on its way gets lost."""
        self._is_closed = True

    def calm_down(self) -> None:
        self._is_calm = True
        self._down_until_s, self.slow_ms = 0.0, 0

    def go_down(self, ms: int) -> None:
        """The store refuses all connections for so long."""
        self._down_until_s = max(self._down_until_s, asyncio.get_running_loop().time() + ms / 1000)

    def send(self, sender: Process, name: str, arguments: tuple[Any, ...], options: dict, reply: Any) -> None:
        message = self._addressed(sender, name, arguments, options)
        fault = message.fault
        if name in _ENDINGS:
            self.unanswered.add(message.about)
        if fault is not _CALM:
            self.faults_met[fault.fault] += 1
            self._tell(message, "is", fault.fault, fault.ms, "ms")
        there_s, _ = message.latency_s
        match fault.fault:
            case Fault.LOST:
                self._later(fault.ms / 1000, _fail, reply, StoreUnavailable("reset"))
            case Fault.REFUSED:
                self._later(there_s, _fail, reply, StoreRefused("OOM"))
            case Fault.DELAYED:
                self._later(there_s + fault.ms / 1000, self._arrive, message, reply)
            case Fault.DUPLICATED:
                self._later(there_s, self._arrive, message, reply)
                self._later(there_s + fault.ms / 1000, self._arrive, message, None)
                self._arrived_s = max(self._arrived_s, asyncio.get_running_loop().time() + there_s + fault.ms / 1000)
            case _:
                self._later(there_s, self._arrive, message, reply)

    def _addressed(self, sender: Process, name: str, arguments: tuple[Any, ...], options: dict) -> Message:
        about = int(arguments[0].id[:8], 16) if name in VERBS else 0
        # What is nobody's request is counted by its sender, in whichever life.
        owner: object = about or sender.name.partition("'")[0]
        nth = self._calls[owner]
        self._calls[owner] += 1
        fault = _CALM if self._is_calm else self._faults.get((owner, nth), _CALM)
        # Of the call alone, so that a plan with less in it delays the rest as before.
        drawn = zlib.crc32(f"{self._seed} {owner} {nth}".encode())
        latency_s = (0.0005 + drawn % 6_000 / 1e6, 0.0005 + drawn // 6_000 % 6_000 / 1e6)
        return Message(sender, name, arguments, options, about, nth, fault, latency_s)

    def _arrive(self, message: Message, reply: Any) -> None:
        if asyncio.get_running_loop().time() < self._down_until_s:
            self._later(0.001, _fail, reply, StoreUnavailable("connection refused"))
            return
        if self.slow_ms:
            slow_s, self.faults_met["slow"] = self.slow_ms / 1000, self.faults_met["slow"] + 1
            self._later(slow_s, self._apply, message, reply)
        else:
            self._apply(message, reply)

    def _apply(self, message: Message, reply: Any) -> None:
        if self._is_closed:
            return
        back_s = message.latency_s[1]
        try:
            answer = self.step(message.name, message.arguments, message.options)
        except (StoreRefused, StoreUnavailable) as error:
            self._later(back_s, _fail, reply, error)
            return
        except Violation as violation:
            self.violation = self.violation or violation
            self._tell(message, "-> VIOLATION", violation)
            asyncio.get_running_loop().stop()
            return
        status = getattr(answer, "status", "")
        self._tell(message, "->", status)
        if message.name == "reserve" and message.fault.fault is Fault.DUPLICATED:
            self._repeated_reserves.add(message.about)
        is_undone = message.name == "release" and message.arguments[0].forgets
        if (is_undone or status in _HOLDS_NOTHING) and message.about in self._repeated_reserves:
            self.repeated_refusals.add(message.about)
        for entry in getattr(answer, "entries", ()):
            self.writers[entry.seq, entry.reservation_id] = message
        match message.fault.fault:
            case Fault.REPLY_LOST:
                self._later(message.fault.ms / 1000, _fail, reply, StoreUnavailable("reset"))
            case Fault.REPLY_DELAYED:
                self._later(back_s + message.fault.ms / 1000, self._answer, message, reply, answer)
            case _:
                self._later(back_s, self._answer, message, reply, answer)

    def _answer(self, message: Message, reply: Any, answer: Any) -> None:
        if reply is not None and not reply.done():
            reply.set_result(answer)
            if message.name in _ENDINGS:
                self.unanswered.discard(message.about)

    def step(self, name: str, arguments: Iterable[Any] = (), options: dict[str, Any] | None = None) -> Any:
        """One atomic step of the store, checked."""
        arguments, options = tuple(arguments), options or {}
        answer = answered(getattr(self._host.store, name)(*arguments, **options))
        self._witness.applied(name, arguments, options, answer)
        if name in VERBS and self._witness.steps % self._host.proves_every == 0:
            self._witness.check_proofs(answered(self._host.store.proofs()))
        return answer

    def _later(self, delay_s: float, what: Callable[..., None], *arguments: Any) -> None:
        # Of no process: what is on its way arrives, whoever has died meanwhile.
        asyncio.get_running_loop().call_later(delay_s, what, *arguments, context=outside())


def _fail(reply: Any, error: Exception) -> None:
    if reply is not None and not reply.done():
        reply.set_exception(error)
