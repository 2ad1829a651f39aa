"""Every counter change is a span, whatever is lost on the way; the span says what the journal says."""

import asyncio
import contextlib
from collections import Counter
from random import Random

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import StatusCode

from budget_middleware.core.statuses import Op, Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Finalize
from budget_middleware.core.windows import Period
from budget_middleware.ledger import AnswerFuture, BudgetHandle, Hold, Ledger
from budget_middleware.ledger.expiries import SWEPT_AT_ONCE
from budget_middleware.ledger.holds.growth import Growth
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.telemetry.traceparent import is_sampled
from budget_middleware.testing import Gate, MovableClock
from tests.ledger.conftest import OpenLedger, drain, hold, nanos
from tests.ledger.faults import FaultyStore, overtaken, refused, reply_held, reply_lost, request_lost, twice
from tests.stores.verbs import whole_journal
from tests.telemetry.conftest import BOTH_SETTINGS, Spans, UseProvider
from tests.telemetry.proof import SpanId, all_changes, attribute, id_of, ids_in, links_of, named, only, prove

LIMITS = "key=1/month; key=0.5/day; global=3/day"


async def test_a_request_in_four_spans(base: Store, spans: Spans, ledger: Ledger):
    held = hold("0.60", attributes=lambda: {"gen_ai.request.model": "m"})
    await ledger.reserve(held)
    ending = Finalize(held.id, held.targets, Amounts(usd=nanos("0.10")), reason="usage", wants_entries=False)
    await ledger.begin_ending(held, ending, attributes=lambda: {"gen_ai.response.model": "n"})
    await prove(base, spans())
    reserve, finalize = only(spans(), "budget.reserve"), only(spans(), "budget.finalize")
    assert dict(reserve.attributes or {}) == {
        "budget.reservation.id": held.id,
        "budget.estimate_usd": 0.6,
        "budget.status": "reserved",
        "gen_ai.request.model": "m",
    }
    assert dict(finalize.attributes or {}) == {
        "budget.reservation.id": held.id,
        "budget.amount_usd": 0.1,
        "budget.reason": "usage",
        "budget.status": "finalized",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "n",
    }
    assert links_of(finalize) == {id_of(reserve)}
    assert not reserve.links
    for span in named(spans(), "budget.counter"):
        verb = reserve if attribute(span, "budget.op") == "reserve" else finalize
        assert verb.start_time is not None
        assert span.start_time == verb.start_time, "with the call's times"


async def test_a_refusal_is_policy_and_names_the_counter(spans: Spans, open_ledger: OpenLedger):
    ledger = open_ledger(LIMITS)
    held = hold("0.40")
    await ledger.reserve(held)
    await ledger.reserve(hold("0.30"))
    refusal = named(spans(), "budget.reserve")[-1]
    assert refusal.status.status_code is StatusCode.UNSET
    told = dict(refusal.attributes or {})
    del told["budget.reservation.id"], told["budget.window"]
    assert told == {
        "budget.status": "rejected",
        "budget.estimate_usd": 0.3,
        "budget.account": "key:a",
        "budget.account.kind": "key",
        "budget.unit": "usd",
        "budget.period": "day",
        "budget.spent.before_usd": 0.0,
        "budget.reserved.before_usd": 0.4,
        "budget.limit_usd": 0.5,
    }
    await ledger.release(held)


@BOTH_SETTINGS
async def test_shadow_tells_the_refusal_it_did_not_make(base: Store, spans: Spans, open_ledger: OpenLedger):
    ledger = open_ledger(enforce=False)
    held = hold("1.60")
    assert (await ledger.reserve(held)).admits
    assert attribute(only(spans(), "budget.reserve"), "budget.limit_usd") == 1.0
    await ledger.release(held)
    await prove(base, spans())


@BOTH_SETTINGS
@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_error_is_the_status_of_what_operators_look_for(
    faults: FaultyStore, clock: MovableClock, spans: Spans, open_ledger: OpenLedger
):
    ledger = open_ledger(store_timeout_s=0.25)
    late, late_released, lost, conflicting = hold("0.01"), hold("0.01"), hold("0.01"), hold("0.01")
    for held in (late, late_released, conflicting):
        await ledger.reserve(held)
    await ledger.reserve(Hold({"key": "a"}, Amounts(usd=nanos("0.02")), id=conflicting.id))
    clock.advance(s=61)
    await ledger.finalize(late, actual=Amounts(usd=1))
    await ledger.release(late_released)
    faults.always["reserve"] = refused
    with pytest.raises(StoreRefused):
        await ledger.reserve(lost)
    await ledger.finalize(lost, actual=Amounts(usd=1))
    faults.always["finalize"] = request_lost
    gone = ledger.finalize(hold("0"), actual=Amounts(usd=1))
    await ledger.drain(timeout_s=0)
    assert gone.result() is None
    errors = {
        (span.name, attribute(span, "budget.status"))
        for span in spans()
        if span.status.status_code is StatusCode.ERROR and span.name != "budget.counter"
    }
    assert errors == {
        ("budget.reserve", "conflict"),
        ("budget.reserve", "unprotected"),
        ("budget.expire", "expired"),
        ("budget.finalize", "finalized_late"),
        ("budget.finalize", "finalized_unreserved"),
        ("budget.finalize", "unprotected"),
        ("budget.release", "released_late"),
    }
    await prove(faults.inner, spans())


@BOTH_SETTINGS
async def test_a_hold_that_grows_is_linked_to_its_reserve(base: Store, spans: Spans, ledger: Ledger):
    held = hold("0.60", attributes=lambda: {"gen_ai.request.model": "m"})
    await ledger.reserve(held)
    assert await _grow_to(ledger, held, nanos("0.90"))
    await prove(base, spans())
    grow = only(spans(), "budget.grow")
    assert links_of(grow) == {id_of(only(spans(), "budget.reserve"))}
    assert dict(grow.attributes or {}) == {
        "budget.reservation.id": held.id,
        "budget.amount_usd": 0.9,
        "budget.reason": "outgrown: 1431 tokens shown, holds 2860",
        "budget.status": "grown",
        "gen_ai.request.model": "m",
    }
    await ledger.release(held)


@BOTH_SETTINGS
async def test_swept_in_passing_has_an_expire_span_below_the_verb(
    base: Store, clock: MovableClock, spans: Spans, open_ledger: OpenLedger
):
    """One worker's leases, expired by another: the link leads to the span of the worker that had reserved."""
    dead, alive = open_ledger(), open_ledger()
    orphans = [hold("0.30"), hold("0.30")]
    for orphan in orphans:
        await dead.reserve(orphan)
    clock.advance(s=61)
    held = hold("0.90")
    await alive.reserve(held)
    expire = only(spans(), "budget.expire")
    assert expire.parent is not None
    assert expire.parent.span_id == int(ids_in(held.reserve_trace)[1], 16)
    assert links_of(expire) == {ids_in(orphan.reserve_trace) for orphan in orphans}
    assert expire.status.status_code is StatusCode.ERROR
    for orphan in orphans:
        await dead.finalize(orphan, actual=Amounts(usd=nanos("0.01")))
    await alive.release(held)
    await prove(base, spans())


@BOTH_SETTINGS
async def test_swept_by_a_ledger(base: Store, clock: MovableClock, spans: Spans, open_ledger: OpenLedger):
    dead, alive = open_ledger(LIMITS), open_ledger()
    orphan = hold("0.30")
    await dead.reserve(orphan)
    await alive.sweep()
    assert not named(spans(), "budget.expire"), "nothing was due"
    clock.advance(s=61)
    await alive.sweep()
    assert links_of(only(spans(), "budget.expire")) == {ids_in(orphan.reserve_trace)}
    await prove(base, spans())


async def test_of_many_that_are_swept_each_is_linked_to_its_reserve(
    base: Store, clock: MovableClock, spans: Spans, open_ledger: OpenLedger
):
    """As after the death of a worker: an SDK keeps 128 links of a span, and drops the oldest of more."""
    dead, alive = open_ledger("key=9/month"), open_ledger()
    orphans = [hold("0.01") for _ in range(SWEPT_AT_ONCE + 2)]
    for orphan in orphans:
        await dead.reserve(orphan)
    clock.advance(s=61)
    await alive.sweep()
    expiries = named(spans(), "budget.expire")
    assert [len(span.links) + span.dropped_links for span in expiries] == [SWEPT_AT_ONCE, 2]
    assert set[SpanId]().union(*map(links_of, expiries)) == {ids_in(orphan.reserve_trace) for orphan in orphans}


async def test_an_expiry_that_another_shard_tells_later_links_nothing(base, spans, ledger, clock, caplog):
    """The span has ended with what the first shard said."""
    await ledger.reserve(hold("0.30"))
    clock.advance(s=61)
    answer = await base.sweep(at_most=16)
    telemetry = ledger.telemetry
    span = telemetry.spans.start(Op.EXPIRE)
    for _ in range(2):
        telemetry.spans.link_expired(span, answer.entries)
        telemetry.spans.end(span, Status.EXPIRED)
    assert len(only(spans(), "budget.expire").links) == 1
    assert "ended span" not in caplog.text


@BOTH_SETTINGS
async def test_an_operators_release(base: Store, spans: Spans, open_ledger: OpenLedger):
    owner, operator = open_ledger(), open_ledger()
    held = hold("0.30")
    await owner.reserve(held)
    await operator.expire(held.id, reason="stuck")
    await operator.expire("unknown-id", reason="typo")
    released, unknown = named(spans(), "budget.expire")
    assert dict(released.attributes or {}) == {
        "budget.reservation.id": held.id,
        "budget.reason": "stuck",
        "budget.status": "expired",
    }
    assert links_of(released) == {ids_in(held.reserve_trace)}
    assert attribute(unknown, "budget.status") == "unknown"
    assert unknown.status.status_code is StatusCode.UNSET
    await prove(base, spans())


@BOTH_SETTINGS
async def test_an_adjust(base: Store, faults: FaultyStore, spans: Spans, ledger: Ledger):
    claims = await ledger.claims({"key": "a"}, model="")
    faults.meets("adjust", reply_lost, reply_lost)
    answer = await ledger.adjust(claims, amount=Amounts(usd=-nanos("0.25")), reason="goodwill")
    assert [entry.spent_delta for entry in answer.entries] == [-nanos("0.25")]
    await ledger.sweep()
    await ledger.drain()
    adjust = only(spans(), "budget.adjust")
    assert (attribute(adjust, "budget.amount_usd"), attribute(adjust, "budget.reason")) == (-0.25, "goodwill")
    await prove(base, spans())


@BOTH_SETTINGS
async def test_a_transfer(base: Store, faults: FaultyStore, spans: Spans, ledger: Ledger):
    (giver,) = await ledger.claims({"key": "a"}, model="")
    getter = giver._replace(account="key:b")
    faults.meets("transfer", reply_lost)
    await ledger.transfer(giver, getter, amount=Amounts(usd=nanos("0.25")), reason="swap")
    refused = await ledger.transfer(giver, getter, amount=Amounts(usd=nanos("100000")), reason="swap")
    assert refused.rejection is not None
    await ledger.sweep()
    await ledger.drain()
    done, rejected = named(spans(), "budget.transfer")
    assert (attribute(done, "budget.status"), attribute(done, "budget.amount_usd")) == ("transferred", 0.25)
    assert (attribute(rejected, "budget.status"), attribute(rejected, "budget.account")) == ("rejected", "key:a")
    assert rejected.status.status_code is StatusCode.UNSET
    await prove(base, spans())


@pytest.mark.proves("I9")
@BOTH_SETTINGS
async def test_everything_at_once_and_nothing_untold(
    base: Store, faults: FaultyStore, clock: MovableClock, spans: Spans, open_ledger: OpenLedger
):
    """Two workers, many requests, every fault, leases that run out, an operator: I9 to the entry."""
    ledgers = [open_ledger(LIMITS) for _ in range(2)]
    random = Random()  # a failing run prints its journal

    async def faulty(apply):
        return await random.choice([request_lost, reply_lost, twice, _sound, _sound, _sound])(apply)

    for method in ("reserve", "finalize", "release", "extend", "grow", "sweep", "adjust"):
        faults.always[method] = faulty

    async def request(at: int) -> None:
        ledger, held = ledgers[at % 2], hold(f"0.0{at % 5}", key=f"k{at % 3}")
        asking = asyncio.create_task(ledger.reserve(held))
        if at % 10 == 0:
            await asyncio.sleep(0)
            asking.cancel()
        await asyncio.wait({asking})
        if asking.cancelled() or (asking.exception() is None and not asking.result().admits):
            return
        # Without an answer in time it is served unprotected, and ends like any other.
        if at % 7 == 0:
            clock.advance(s=25)
        # Of three one to less than it holds, which asks the store for nothing.
        await _grow_to(ledger, held, held.asked.usd + at % 3 * at)
        if at % 11 == 0:
            await _anyhow(ledgers[(at + 1) % 2].expire(held.id, reason="operator"))
        await _ending(ledger, held, at)

    for first in range(0, 120, 12):
        await asyncio.gather(*(request(at) for at in range(first, first + 12)))
        claims = await ledgers[0].claims({"key": "k1"}, model="")
        await _anyhow(ledgers[0].adjust(claims, amount=Amounts(usd=first), reason="test"))
        await _anyhow(ledgers[1].sweep())
    faults.always.clear()
    clock.advance(s=61)
    for ledger in ledgers:
        # What lost its reply is told from the journal after the next answer, by the ledger that had called.
        await ledger.drain()
        await ledger.sweep()
        await ledger.drain()
    entries = await prove(base, spans())
    assert {entry.op.value for entry in entries} == {"reserve", "grow", "finalize", "release", "expire", "adjust"}
    assert all(proof.balance.reserved == 0 for proof in await base.proofs())


def _ending(ledger: Ledger, held: Hold, at: int) -> AnswerFuture:
    return ledger.release(held) if at % 4 == 0 else ledger.finalize(held, actual=Amounts(usd=at * 1000))


async def _grow_to(ledger: Ledger, held: Hold, amount_nanos: int) -> bool:
    held.growth = Growth(None, held_nanos=held.asked.usd, model="other", added=BudgetHandle("", ledger.prices))
    return await ledger.grow_to(held, amount_nanos, reason="outgrown: 1431 tokens shown, holds 2860")


async def _sound(apply):
    return await apply()


async def _anyhow(verb):
    with contextlib.suppress(StoreUnavailable):
        await verb


@BOTH_SETTINGS
@pytest.mark.parametrize("verb", ["reserve", "grow", "finalize", "release", "expire", "sweep", "adjust"])
async def test_a_lost_reply_is_told_from_the_journal_and_once(
    base: Store, faults: FaultyStore, *, clock: MovableClock, spans: Spans, open_ledger: OpenLedger, verb: str
):
    ledger, held = open_ledger(store_timeout_s=0.25), hold("0.60")
    faults.always[verb] = reply_lost
    if verb == "reserve":
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(held)
    else:
        await ledger.reserve(held)
    if verb == "grow":
        assert await _grow_to(ledger, held, nanos("0.80")) is False
    if verb == "adjust":
        with pytest.raises(StoreUnavailable):
            await ledger.adjust(await ledger.claims({"key": "a"}, model=""), amount=Amounts(usd=1), reason="x")
    if verb == "expire":
        with pytest.raises(StoreUnavailable):
            await ledger.expire(held.id, reason="x")
    if verb == "sweep":
        clock.advance(s=61)
        with pytest.raises(StoreUnavailable):
            await ledger.sweep()
    ending = ledger.release(held) if verb == "release" else ledger.finalize(held, actual=Amounts(usd=1))
    await ending
    faults.always.clear()
    for _ in range(3):
        await ledger.sweep()
        await ledger.drain()
    await prove(base, spans())


@BOTH_SETTINGS
@pytest.mark.parametrize("verb", ["reserve", "grow", "finalize", "release"])
async def test_what_a_copy_wrote_that_came_first_is_told_and_once(
    base: Store, faults: FaultyStore, *, spans: Spans, ledger: Ledger, verb: str
):
    """Simulated seed 714806."""
    held = hold("0.60")
    faults.always[verb] = overtaken
    await ledger.reserve(held)
    if verb == "grow":
        assert await _grow_to(ledger, held, nanos("0.80"))
    await (ledger.release(held) if verb == "release" else ledger.finalize(held, actual=Amounts(usd=1)))
    await ledger.sweep()
    await ledger.drain()
    await prove(base, spans())


@BOTH_SETTINGS
async def test_told_as_soon_as_the_repeat_is_answered(base: Store, faults: FaultyStore, spans: Spans, ledger: Ledger):
    held = hold("0.60")
    await ledger.reserve(hold("0"))
    faults.meets("reserve", reply_lost)
    await ledger.reserve(held)
    await drain(ledger)
    await prove(base, spans())
    await ledger.release(held)


@BOTH_SETTINGS
@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_lost_reply_of_a_store_that_was_emptied_since(
    faults: FaultyStore, clock: MovableClock, spans: Spans, ledger: Ledger
):
    """Its seq begins anew, so the entry is nowhere near where the journal was."""
    for _ in range(5):
        held = hold("0.10")
        await ledger.reserve(held)
        await ledger.finalize(held, actual=Amounts(usd=0))
    last = hold("0.10")
    await ledger.reserve(last)
    faults.inner = MemoryStore(clock_ms=clock)
    faults.meets("finalize", reply_lost)
    n_before = len(all_changes(spans()))
    await ledger.finalize(last, actual=Amounts(usd=nanos("0.05")))
    await ledger.drain()
    told = [change.attributes["budget.journal.seq"] for change in all_changes(spans())[n_before:]]
    assert told == [entry.seq for entry in await whole_journal(faults.inner)]


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_others_who_write_on_do_not_keep_the_search_going(
    faults: FaultyStore, spans: Spans, open_ledger: OpenLedger
):
    """Everybody's new entries end no page, and a search must not chase them."""
    ledger, other = open_ledger(), open_ledger("key=100/month")
    await ledger.reserve(hold("0.10"))

    async def journal_while_others_write(apply):
        page = await apply()
        await other.reserve(hold("0.001", key="b"))
        return page

    faults.always["journal"] = journal_while_others_write
    faults.meets("reserve", reply_lost)
    await ledger.reserve(hold("0.10"))
    await drain(ledger)
    assert faults.count("journal") <= 2


@BOTH_SETTINGS
@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_a_journal_that_cannot_be_read_is_read_later(faults: FaultyStore, spans: Spans, open_ledger: OpenLedger):
    ledger = open_ledger()
    faults.meets("reserve", request_lost, reply_lost)
    faults.meets("journal", request_lost, refused)
    await ledger.reserve(hold("0.10"))
    for _ in range(3):
        await drain(ledger)
        await ledger.sweep()
    await drain(ledger)
    await prove(faults.inner, spans())


# Sampling.


class Witness(Sampler):
    """Notes what a sampler is shown; it must be everything that is known at the start."""

    def __init__(self, decides: Sampler) -> None:
        self._decides = decides
        self.seen: list[tuple[str, dict[str, object]]] = []

    def should_sample(self, parent_context, trace_id, name, *facts, **more) -> SamplingResult:
        _, attributes, _ = facts
        self.seen.append((name, dict(attributes)))
        return self._decides.should_sample(parent_context, trace_id, name, *facts, **more)

    def get_description(self) -> str:
        return "witness"


async def test_a_sampler_sees_the_attributes(use_provider: UseProvider, open_ledger: OpenLedger):
    witness = Witness(ALWAYS_ON)
    use_provider(sampler=witness)
    ledger, held = open_ledger(), hold("0.60", attributes=lambda: {"gen_ai.request.model": "m"})
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    verbs = {name: seen for name, seen in witness.seen if name != "budget.counter"}
    assert verbs["budget.reserve"] == {
        "budget.reservation.id": held.id,
        "budget.estimate_usd": 0.6,
        "gen_ai.request.model": "m",
    }
    assert verbs["budget.finalize"]["budget.amount_usd"] == 0.1
    counters = [seen for name, seen in witness.seen if name == "budget.counter"]
    assert [seen["budget.spent.after_usd"] for seen in counters] == [0.0, 0.1]
    assert all("budget.account" in seen for seen in counters)


async def test_unsampled_the_journal_still_names_the_trace(
    base: Store, faults: FaultyStore, use_provider: UseProvider, open_ledger: OpenLedger
):
    witness = Witness(ALWAYS_OFF)
    spans = use_provider(sampler=witness)
    ledger, held = open_ledger(), hold("0.60")
    faults.meets("finalize", reply_lost)
    await ledger.reserve(held)
    await ledger.finalize(held, actual=Amounts(usd=nanos("0.10")))
    await ledger.drain()
    assert spans() == ()
    assert [name for name, _ in witness.seen] == ["budget.reserve", "budget.finalize"], "no counter span is built"
    for entry in await whole_journal(base):
        assert not int(entry.trace[-2:], 16) & 1, "the flag that says it is sampled"
        assert all(int(part, 16) for part in ids_in(entry.trace))
    assert faults.count("journal") == 1, "by which a loss could be known; not searched for what no span would tell"


async def test_a_sampler_may_drop_what_costs_nothing(base: Store, use_provider: UseProvider, open_ledger: OpenLedger):
    class OnlyDear(Sampler):
        def should_sample(self, parent_context, trace_id, name, *facts, **more) -> SamplingResult:
            _, attributes, _ = facts
            decides = ALWAYS_ON if attributes.get("budget.estimate_usd", 1) > 0.5 else ALWAYS_OFF
            return decides.should_sample(parent_context, trace_id, name, *facts, **more)

        def get_description(self) -> str:
            return "dear"

    spans = use_provider(sampler=OnlyDear())
    ledger = open_ledger()
    await ledger.reserve(hold("0.10"))
    assert spans() == ()
    await ledger.reserve(hold("0.60"))
    assert sorted(span.name for span in spans()) == ["budget.counter", "budget.reserve"]


class EvenIds(RandomIdGenerator):
    """Trace ids that are spread evenly, so that a ratio samples just that many of them."""

    def __init__(self, of: int) -> None:
        self._step = 2**64 // of
        self._made = 0

    def generate_trace_id(self) -> int:
        self._made += 1
        return (self._made << 64) | (self._made * self._step % 2**64)


@BOTH_SETTINGS
async def test_of_1_percent_sampled_the_journal_is_whole(
    base: Store, faults: FaultyStore, use_provider: UseProvider, open_ledger: OpenLedger
):
    """Half of the requests have a server's span, which decides for all that is below it."""
    spans = use_provider(sampler=ParentBased(TraceIdRatioBased(0.01)), id_generator=EvenIds(100))
    ledger = open_ledger("key=1000/month; global=1000/day")
    tracer = trace.get_tracer("gateway")

    async def request(at: int) -> None:
        with tracer.start_as_current_span("POST") if at % 2 else contextlib.nullcontext():
            held = hold("0.01", key=f"k{at % 3}")
            await ledger.reserve(held)
            await (ledger.finalize(held, actual=Amounts(usd=at)) if at % 4 else ledger.release(held))

    for at in range(0, 200, 20):
        faults.meets("reserve", reply_lost)
        faults.meets("finalize", request_lost, reply_lost)
        await asyncio.gather(*(request(at + number) for number in range(20)))
    await ledger.drain()

    entries = await whole_journal(base)
    verbs = Counter((entry.reservation_id, entry.op.value) for entry in entries)
    assert len({id_ for id_, _ in verbs}) == 200
    assert len(verbs) == 400, "each was reserved and ended"
    assert all(ids_in(entry.trace) for entry in entries)
    sampled = [entry for entry in entries if is_sampled(entry.trace)]
    told = Counter(change.attributes["budget.journal.seq"] for change in all_changes(spans()))
    assert told == Counter(entry.seq for entry in sampled), "an entry's flag says whether it was exported"
    assert 0 < len(sampled) < len(entries) / 20


@pytest.mark.parametrize("base", ["memory"], indirect=True)
async def test_runtime_limits_are_told_with_the_counters(base: Store, spans: Spans, ledger: Ledger):
    await base.set_limit("key:a", period=Period.MONTH, limit_nanos=nanos("7"))
    held = hold("0.60")
    await ledger.reserve(held)
    (counter,) = named(spans(), "budget.counter")
    assert attribute(counter, "budget.limit_usd") == 7.0
    await ledger.release(held)
    await prove(base, spans())


@BOTH_SETTINGS
async def test_a_cancelled_reserve_says_so(base: Store, faults: FaultyStore, spans: Spans, ledger: Ledger):
    gate = Gate()
    faults.meets("reserve", reply_held(gate))
    asking = asyncio.create_task(ledger.reserve(hold()))
    await gate.reached()
    asking.cancel()
    await asyncio.wait({asking})
    await ledger.drain()
    assert attribute(only(spans(), "budget.reserve"), "budget.status") == "cancelled"
    assert attribute(only(spans(), "budget.release"), "budget.reason") == "cancelled while reserving"
    await prove(base, spans())
