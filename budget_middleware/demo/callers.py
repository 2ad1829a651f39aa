"""The demo's clients: five keys of two teams, not all of them well-behaved."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle

import httpx

from budget_middleware.core.payers.accounts import account_of, key_id

# Dear enough for figures that can be read; its price is in the built-in book.
MODEL = "gpt-5-pro"


class Outcome(StrEnum):
    """What became of a request, as its caller saw it."""

    ANSWERED = "answered"
    CANCELLED = "cancelled"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Caller:
    """A key with habits: each of `tabs` asks again and again, and the provider's `troubles` take turns."""

    name: str
    team: str
    prompt_words: int = 8
    max_tokens: int = 200
    tabs: int = 1
    pause_s: float = 0.3
    streams: bool = True
    hangs_up_after_words: int | None = None
    troubles: tuple[str, ...] = ("",)

    @property
    def token(self) -> str:
        return f"sk-demo-{self.name}"

    @property
    def account(self) -> str:
        return account_of("key", key_id(self.token))

    def body(self) -> dict[str, object]:
        """A chat completion; the provider answers each word of the prompt with ten."""
        return {
            "model": MODEL,
            "stream": self.streams,
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": " ".join(["budget"] * self.prompt_words)}],
        }


OVERSPENDER = Caller("erin", team="research", prompt_words=6, max_tokens=100, pause_s=0.8, streams=False)
CALLERS = (
    Caller("alice", team="search", prompt_words=14, tabs=2),
    Caller("bob", team="search", streams=False),
    Caller("carol", team="research", hangs_up_after_words=25),
    Caller("dave", team="research", troubles=("503", "cut", "")),
    OVERSPENDER,
)
ACCOUNTS = "\n".join(f'[keys."{key_id(caller.token)}"]\nteam = "{caller.team}"' for caller in CALLERS)
"""The accounts file: which key belongs to which team."""

USUAL_S = 18
"""The default of `demo --seconds`."""


def limits_for(seconds: float) -> str:
    """Limits that last about as long as the traffic, for all but one: else a long demo would show refusals alone."""
    cents = math.ceil(25 * max(1.0, seconds / USUAL_S))
    return f"key={cents / 100:.2f}/day; {OVERSPENDER.account}=0.02/day; team={2 * cents / 100:.2f}/day"


@dataclass(slots=True)
class Tally:
    """What callers saw so far: how many of each outcome, the first refusal's words, an id for each outcome."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    refusal: str = ""
    reservation_ids: dict[Outcome, str] = field(default_factory=dict)


async def call_for(seconds: float, gateways: Iterator[str], tally: Tally) -> None:
    """Let everybody call, each request at the next of the gateways, and begin none after `seconds`."""
    until = time.monotonic() + seconds
    # A proxy of the environment is not meant for this machine's own servers.
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http, asyncio.TaskGroup() as tasks:

        async def keep_calling(caller: Caller) -> None:
            troubles = cycle(caller.troubles)
            while time.monotonic() < until:
                await _call(http, next(gateways), caller, tally, trouble=next(troubles))
                await asyncio.sleep(caller.pause_s)

        for caller in CALLERS:
            for _ in range(caller.tabs):
                tasks.create_task(keep_calling(caller))


async def _call(http: httpx.AsyncClient, gateway: str, caller: Caller, tally: Tally, *, trouble: str) -> None:
    headers = {"authorization": f"Bearer {caller.token}", "x-provider-fail": trouble}
    url = f"{gateway}/v1/chat/completions"
    outcome = Outcome.FAILED
    try:
        async with http.stream("POST", url, json=caller.body(), headers=headers) as answer:
            outcome = await _read(answer, caller, tally)
            tally.reservation_ids[outcome] = answer.headers.get("x-budget-reservation-id", "")
    except httpx.HTTPError:
        pass  # Cut off by the provider, as was asked for.
    tally.outcomes[outcome] += 1


async def _read(answer: httpx.Response, caller: Caller, tally: Tally) -> Outcome:
    if answer.status_code == 429:
        await answer.aread()
        tally.refusal = tally.refusal or f"{caller.name} got 429: {answer.json()['error']['message']}"
        return Outcome.REFUSED
    if answer.status_code != 200:
        return Outcome.FAILED
    words = 0
    async for line in answer.aiter_lines():
        words += line.startswith("data:")
        if caller.hangs_up_after_words is not None and words > caller.hangs_up_after_words:
            return Outcome.CANCELLED
    return Outcome.ANSWERED
