"""Which of many counters `status` shows."""

from budget_middleware.core.answers import CounterView
from budget_middleware.core.model import Balance, Counter
from budget_middleware.core.windows import Period
from budget_middleware.operations.counters import choose, used_ppm


def view(account: str, spent: int, reserved: int = 0) -> CounterView:
    return CounterView(Counter(account, Period.MONTH, "2026-11"), Balance(spent, reserved))


VIEWS = [view("key:a", 79), view("key:b", 40, 40), view("team:a", 100), view("team:free", 500), view("user:a", 80)]


def chosen(match: str | None = None, over_percent: int | None = None, top: int | None = None) -> list[str]:
    def limit(counter: Counter) -> int | None:
        return None if counter.account == "team:free" else 100

    views = choose(VIEWS, limit, match=match, over_percent=over_percent, top=top)
    return [each.counter.account for each in views]


def test_all_of_them_in_their_order():
    assert chosen() == [each.counter.account for each in VIEWS]


def test_by_a_text_or_a_pattern():
    assert chosen(match="team") == ["team:a", "team:free"]
    assert chosen(match="*:a") == ["key:a", "team:a", "user:a"]
    assert chosen(match="key:?") == ["key:a", "key:b"]
    assert chosen(match="nobody") == []


def test_by_how_much_of_the_limit_is_spent_or_reserved():
    assert chosen(over_percent=80) == ["key:b", "team:a", "user:a"]
    assert chosen(over_percent=101) == []


def test_by_what_was_spent():
    assert chosen(top=2) == ["team:free", "team:a"]
    assert chosen(over_percent=80, top=1) == ["team:a"]


def test_all_of_a_limit_of_nothing_is_used():
    """As the admin API and the dashboard have it: `status --over 150` listed it before."""
    spent = view("key:a", 5)
    assert used_ppm(spent, 0) == 1_000_000
    assert choose([spent], lambda _: 0, match=None, over_percent=100, top=None) == [spent]
    assert choose([spent], lambda _: 0, match=None, over_percent=101, top=None) == []
