"""Plans drawn from seeds: what is common often, what is rare often enough."""

import random
from dataclasses import replace

from tests.simulation.plan import CallFault, Client, Event, Fault, Kind, Look, Plan, PlannedJob, Play, Request
from tests.simulation.simulated_gateway import ESTIMATE_NANOS

WORDS_MAX = 24
LEARNING = 0.7
"""Of those plans whose charges do not depend on an estimate."""


def draw(seed: int) -> Plan:
    """The plan of a seed. Each seed leaves some faults out: where all happen at once, few stories go far."""
    rng = random.Random(seed)
    workers = rng.randint(1, 4)
    length_ms = rng.choice((4_000, 15_000, 40_000))
    lease_s = rng.choice((3, 6, 12))
    faults = rng.sample(list(Fault), rng.randint(0, len(Fault)))
    kinds = rng.sample([kind for kind in Kind if kind is not Kind.TRANSFER], rng.randint(0, 6))
    chance = rng.choice((0.02, 0.1, 0.4))
    # Whatever comes in bursts meets the others' holds at the limit.
    spread_ms = rng.choice((length_ms, 40))
    bursts_ms = [rng.randrange(length_ms) for _ in range(rng.choice((1, 3, 6)))] if spread_ms < length_ms else [0]
    requests = tuple(
        _request(
            rng,
            n,
            at_ms=rng.choice(bursts_ms) + rng.randrange(spread_ms),
            workers=workers,
            faults=faults,
            chance=chance,
            lease_s=lease_s,
        )
        for n in range(1, rng.choice((6, 20, 40)))
    )
    events = tuple(
        _event(rng, kind, 10_000 + n, workers=workers, length_ms=length_ms, lease_s=lease_s, requests=len(requests))
        for n, kind in enumerate(rng.choices(kinds, k=rng.randint(1, 12)) if kinds else ())
    )
    house = [
        (rng.randrange(workers), _call_fault(rng, nth, faults, lease_s))
        for nth in range(40)
        if faults and rng.random() < chance / 2
    ]
    plan = Plan(
        seed=seed,
        workers=workers,
        starts_ms_before_hour=rng.choice((1_800_000, length_ms // 2, 2_000)),
        on_abort=rng.choice(("partial", "partial", "input", "full", "release", "drain")),
        on_expire=rng.choice(("release", "input", "estimate")),
        on_store_error=rng.choice(("local", "open", "closed")),
        limit_in_estimates=rng.choice((1, 2, 5, 1_000)),
        lease_s=lease_s,
        has_spool=rng.random() < 0.5,
        skews_ms=tuple(rng.choice((0, 0, -300_000, 420_000)) for _ in range(workers)),
        requests=requests,
        events=tuple(sorted(events, key=lambda event: event.at_ms)),
        house_faults=tuple(house),
    )
    # What is learnt depends on which answers came first, so no rule by an estimate tells what is due.
    is_due_known = plan.on_abort != "full" and plan.on_expire != "estimate"
    plan = replace(plan, learns=is_due_known and rng.random() < LEARNING)
    # By numbers of their own, so that all else is drawn as without them.
    rng = random.Random(f"jobs of {seed}")
    numbers = range(20_000, 20_000 + 10 * rng.choice((0, 2, 5)), 10)
    return replace(plan, jobs=tuple(_job(rng, n, plan, faults, chance, length_ms=length_ms) for n in numbers))


def _request(
    rng: random.Random, number: int, *, at_ms: int, workers: int, faults: list[Fault], chance: float, lease_s: int
) -> Request:
    client = rng.choices(list(Client), weights=(6, 2, 1, 2, 1))[0]
    cancels = client in (Client.CANCELS, Client.CANCELS_ON)
    return Request(
        number,
        at_ms=at_ms,
        worker=rng.randrange(workers),
        key=rng.randrange(3),
        play=rng.choices(list(Play), weights=(3, 5, 2, 1, 1, 2, 1))[0],
        client=client,
        patience=rng.choice((1, 5, 20, 100, 700, 3_000)) if cancels else rng.randrange(6),
        words=rng.randint(1, WORDS_MAX),
        pause_ms=rng.choice((0, 3, 30, 300, lease_s * 150)),
        faults=tuple(_call_fault(rng, nth, faults, lease_s) for nth in range(6) if faults and rng.random() < chance),
    )


def _job(
    rng: random.Random, number: int, plan: Plan, faults: list[Fault], chance: float, *, length_ms: int
) -> PlannedJob:
    lease_s = plan.lease_s
    at_ms, works_ms = rng.randrange(length_ms), rng.choice((3, 300, 2_000))
    deadline_s = lease_s * rng.choice((1, 2, 3))
    # Some come together, some before the ticket is kept, some after its deadline.
    gaps_ms = (-works_ms // 3, 25, 1_000, 3_000, deadline_s * 500, deadline_s * 1_200)
    later_ms = [rng.choice(gaps_ms) for _ in range(rng.randint(1, 3))]
    pairs_ms = [each + gap_ms for each in later_ms for gap_ms in (0, rng.choice((0, 3, 40)))]
    looks = [
        Look(number + nth, at_ms + works_ms + ms, rng.randrange(plan.workers), rng.choice((0, 0, 0, 1, 8)))
        for nth, ms in enumerate(pairs_ms[: rng.randint(0, len(pairs_ms))], start=1)
    ]
    return PlannedJob(
        number,
        at_ms=at_ms,
        worker=rng.randrange(plan.workers),
        key=rng.randrange(3),
        works_ms=works_ms,
        deadline_s=deadline_s,
        cost_nanos=rng.choice((1, ESTIMATE_NANOS // 4, ESTIMATE_NANOS)),
        charge_nanos=rng.choice((0, ESTIMATE_NANOS // 3)),
        looks=tuple(looks),
        faults=tuple(_call_fault(rng, nth, faults, lease_s) for nth in range(6) if faults and rng.random() < chance),
    )


def _call_fault(rng: random.Random, nth: int, faults: list[Fault], lease_s: int) -> CallFault:
    return CallFault(nth, rng.choice(faults), rng.choice((5, 60, 480, 700, 2_000, lease_s * 900, lease_s * 2_500)))


def _event(
    rng: random.Random, kind: Kind, number: int, *, workers: int, length_ms: int, lease_s: int, requests: int
) -> Event:
    at_ms = rng.randrange(length_ms)
    about = rng.randrange(workers)
    for_ms = rng.choice((50, 400, 1_500, lease_s * 700, lease_s * 1_300, lease_s * 3_000))
    match kind:
        case Kind.SKEW:
            return Event(at_ms, kind, about, amount=rng.choice((-600_000, -90_000, 90_000, 3_700_000)))
        case Kind.STORE_CLOCK:
            return Event(at_ms, kind, amount=rng.choice((-lease_s * 2_000, -300, 700, lease_s * 2_000)))
        case Kind.LIMIT:
            return Event(at_ms, kind, rng.randrange(3), amount=rng.choice((-1, 0, 1, 3, 10)), number=number)
        case Kind.ADJUST:
            key, amount = rng.randrange(3), rng.choice((-700_000, 300_000))
            # Every other one moves the amount to another key instead, and all else is drawn as without transfers.
            moves = number % 2 == 1
            return Event(
                at_ms, Kind.TRANSFER if moves else kind, key, amount=abs(amount) if moves else amount, number=number
            )
        case Kind.OPERATOR_RELEASE:
            return Event(at_ms, kind, rng.randint(1, max(1, requests)), number=number)
        case Kind.FAILOVER:
            return Event(at_ms, kind, for_ms=rng.choice((100, 1_000)), number=number)
        case _:
            return Event(at_ms, kind, about, for_ms=for_ms, number=number)
