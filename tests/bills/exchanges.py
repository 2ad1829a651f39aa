"""A corpus of requests and their answers in every dialect that is read, and what the middleware books for each.

The files of `answers/` hold exchanges by name: the path, the request's model, the whole answer, for many of them the
same answer as a stream too, and how `genai-prices` and LiteLLM name the provider.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from budget_middleware import BudgetMiddleware
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import MovableClock, ScriptedApp, call, chunk, start
from tests.apis.cuts import as_array, as_events, as_frames, as_lines, cut

ANSWERS = Path(__file__).parent / "answers"
# Prices of some providers depend on the time of day.
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

# How a stream is written: content type, and the bytes of its documents.
FORMATS = {
    "events": ("text/event-stream", as_events),
    "array": ("application/json", as_array),
    "lines": ("application/x-ndjson", as_lines),
    "frames": ("application/vnd.amazon.eventstream", as_frames),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and its answer. `model` is None where the path names it."""

    path: str
    model: str | None
    answer: Any
    # [provider, flavour, model if it is not the answer's], None where the library reads no such answers.
    genai_prices: list[str] | None
    # [provider, kind of answer, model if it is not the request's], None where LiteLLM has no such answers.
    litellm: list[str] | None
    request: Mapping[str, Any] = field(default_factory=dict)
    stream: list[Any] | None = None
    stream_path: str = ""
    stream_format: str = "events"


def _load() -> dict[str, Exchange]:
    named: dict[str, Exchange] = {}
    for path in sorted(ANSWERS.glob("*.json")):
        for name, fields in json.loads(path.read_text(encoding="utf-8")).items():
            assert name not in named, f"{name} stands twice"
            named[name] = Exchange(**fields)
    return named


EXCHANGES = _load()


async def booked_usd(exchange: Exchange, *, streamed: bool = False, places: list[int] | None = None) -> Decimal:
    """What the middleware books for an exchange, in USD. A stream may be cut into pieces at `places`."""
    content_type, as_bytes = FORMATS[exchange.stream_format] if streamed else ("application/json", as_lines)
    documents = (exchange.stream or []) if streamed else [exchange.answer]
    *pieces, last = cut(as_bytes(*documents), places or [])
    script = [start(content_type=content_type), *map(chunk, pieces), chunk(last, is_last=True)]
    store = MemoryStore(clock_ms=MovableClock(int(NOW.timestamp()) * 1000))
    guard = BudgetMiddleware(ScriptedApp(*script), store=store, limits="key=1000/month", store_timeout_s="10")
    assert hasattr(guard, "ledger"), "a setting is wrong"
    guard.ledger.prices._clock = NOW.timestamp
    path = (streamed and exchange.stream_path) or exchange.path
    model = {"model": exchange.model} if exchange.model else {}
    body = {**model, "messages": [{"role": "user", "content": "hi"}], "stream": streamed, **exchange.request}
    answer = await call(guard, body, path=path, headers={"authorization": "Bearer sk-one"})
    assert answer.status == 200, answer.body
    await guard.ledger.drain()
    balances = [view.balance for view in await store.counters()]
    assert all(balance.reserved == 0 for balance in balances)
    # What costs nothing leaves no counter.
    return Decimal(sum(balance.spent for balance in balances)).scaleb(-9)
