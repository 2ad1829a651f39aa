"""A simulator that finds nothing proves nothing: each of these slips must be found within a few seeds."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from budget_middleware.core import transitions
from budget_middleware.core.model import Balance
from budget_middleware.core.statuses import State, Status
from budget_middleware.ledger.endings import endings
from budget_middleware.ledger.expiries import Expiries
from budget_middleware.ledger.jobs.tickets import Tickets
from budget_middleware.ledger.ledger import Ledger
from budget_middleware.stores.memory.store import MemoryStore
from tests.simulation.drawing import draw
from tests.simulation.run import simulate
from tests.simulation.shrink import shrink

SEEDS = range(1, 40)

Plant = Callable[[pytest.MonkeyPatch], None]


def book_again(patch: pytest.MonkeyPatch) -> None:
    """A repeated finalize is booked a second time."""
    table = {**transitions.ENDINGS, (transitions.Op.FINALIZE, State.FINALIZED): Status.FINALIZED}
    patch.setattr(transitions, "ENDINGS", table)


def forget_what_was_released(patch: pytest.MonkeyPatch) -> None:
    """A reserve that arrives after its release holds."""
    reserve = transitions.reserve

    def careless(known, verb, **options):
        return reserve(None if known and known.asked is None else known, verb, **options)

    patch.setattr(transitions, "reserve", careless)


def keep_the_expiry_charge(patch: pytest.MonkeyPatch) -> None:
    """A late ending adds its cost to the expiry charge."""
    finalize = transitions.finalize

    def adding(known, verb, **options):
        decision = finalize(known, verb, **options)
        if decision.status is Status.FINALIZED_LATE:
            return replace(decision, postings=transitions.postings(None, decision.becomes))
        return decision

    patch.setattr(transitions, "finalize", adding)


def overlook_the_reserved(patch: pytest.MonkeyPatch) -> None:
    """What others hold does not count against the limit."""
    find = transitions.find_rejection

    def blind(targets, balances, **options):
        return find(targets, [Balance(balance.spent) for balance in balances], **options)

    patch.setattr(transitions, "find_rejection", blind)


def abandon_nothing(patch: pytest.MonkeyPatch) -> None:
    """A reserve of unknown fate is left to itself."""
    patch.setattr(Ledger, "abandon", lambda *_, **__: None)


def never_replay(patch: pytest.MonkeyPatch) -> None:
    """A store that lost writes is not told again."""
    patch.setattr(endings.Endings, "replay", lambda _: None)


def adopt_nothing(patch: pytest.MonkeyPatch) -> None:
    """What a killed worker owed stays on the disk."""
    patch.setattr(endings.Endings, "adopt", lambda _: None)


def keep_a_ticket_by_its_first_lease(patch: pytest.MonkeyPatch) -> None:
    """No heartbeat renews it any more, and no deadline takes its place."""

    async def extend_nothing(*_: object) -> bool:
        return True

    patch.setattr(Expiries, "extend_to", extend_nothing)


def keep_no_fact(patch: pytest.MonkeyPatch) -> None:
    """A ticket has its deadline, and nothing leads to it."""

    async def keep_nothing(*_: object, **__: object) -> bool:
        return True

    patch.setattr(Tickets, "keep_fact", keep_nothing)


def put_texts_over_others(patch: pytest.MonkeyPatch) -> None:
    """Of two changes of one text at once the later one wins."""
    swap = MemoryStore.swap_text

    async def overwrite(self, shelf, name, *, before, after, keep_ms):
        before = (await self.texts(shelf)).get(name)
        return await swap(self, shelf, name, before=before, after=after, keep_ms=keep_ms)

    patch.setattr(MemoryStore, "swap_text", overwrite)


# Each with the first of the seeds that finds it today, which is asked first; any other of them would do.
PLANTS: dict[Plant, int] = {
    book_again: 1,
    forget_what_was_released: 2,
    keep_the_expiry_charge: 8,
    overlook_the_reserved: 4,
    abandon_nothing: 1,
    never_replay: 21,
    adopt_nothing: 15,
    keep_a_ticket_by_its_first_lease: 5,
    keep_no_fact: 5,
    put_texts_over_others: 20,
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    seeds = sorted(SEEDS, key=lambda seed: seed != PLANTS[plant])
    assert any(simulate(draw(seed)).violation for seed in seeds), plant.__doc__


def test_the_shortest_story_is_short(monkeypatch: pytest.MonkeyPatch):
    book_again(monkeypatch)
    plan = next(plan for plan in map(draw, SEEDS) if simulate(plan).violation)
    shortest = shrink(plan, lambda fewer: bool(simulate(fewer).violation))
    outcome = simulate(shortest, keeps_story=True)
    assert outcome.violation
    assert len(shortest.parts) <= 3, "\n".join(outcome.story)
