"""What commands on limits are told: which limits are meant, by how much one is raised, and until when."""

from zoneinfo import ZoneInfo

import pytest

from budget_middleware.core.limits.arguments import every_slot, is_increase, parse_choice, parse_increases, parse_until
from budget_middleware.core.limits.limits import LimitMode, Slot, Terms
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import Period

DAY, TOTAL = Period.DAY, Period.TOTAL
SHADOW = LimitMode.SHADOW
SLOTS = {
    "day": Slot(DAY),
    "day!shadow": Slot(DAY, mode=SHADOW),
    "24h": Slot(Period("24h")),
    "month@15": Slot(Period("month@15")),
    "tokens/minute": Slot(Period.MINUTE, Unit.TOKENS),
    "inflight": Slot(TOTAL, Unit.INFLIGHT),
    "inflight!shadow": Slot(TOTAL, Unit.INFLIGHT, SHADOW),
    "total": Slot(TOTAL),
}


@pytest.mark.parametrize("text", SLOTS)
def test_one_limit_is_meant(text: str):
    choice = parse_choice(text)
    assert [slot for slot in (None, *SLOTS.values()) if choice(slot)] == [SLOTS[text]]


@pytest.mark.parametrize(
    ("text", "slot"),
    [
        ("10.00/day!alert=50", SLOTS["day"]),
        ("8 inflight", SLOTS["inflight"]),
        ("none/24h", SLOTS["24h"]),
        ("none", None),
    ],
)
def test_a_limit_is_named_as_it_is_listed(text: str, slot: Slot | None):
    choice = parse_choice(text)
    assert [each for each in (None, *SLOTS.values()) if choice(each)] == [slot]


def test_a_mode_means_all_limits_of_it():
    choice = parse_choice("!shadow")
    assert [text for text, slot in SLOTS.items() if choice(slot)] == ["day!shadow", "inflight!shadow"]
    assert not choice(None)
    assert all(map(every_slot, (None, *SLOTS.values())))


@pytest.mark.parametrize("text", ["", " ", "fortnight", "!loud", "day!loud", "1/day; 2/month", "!", "tokens"])
def test_what_names_no_limit_is_refused(text: str):
    with pytest.raises(ValueError, match=r"names no limit; accepted are PERIOD, UNIT/PERIOD or inflight"):
        parse_choice(text)


def test_increases():
    assert parse_increases("+5/day; +8inflight!shadow") == {
        SLOTS["day"]: Terms(5 * 10**9),
        SLOTS["inflight!shadow"]: Terms(8),
    }
    assert [is_increase(text) for text in ("+5/day", " +5/day", "5/day")] == [True, True, False]


@pytest.mark.parametrize("text", ["+0/day", "+none/day", "+none", "+5/day!alert=50", "+5/day!carry=50%"])
def test_what_raises_nothing_is_refused(text: str):
    with pytest.raises(ValueError, match="is no increase; accepted is"):
        parse_increases(text)


def test_a_day_begins_where_the_zone_says():
    berlin = ZoneInfo("Europe/Berlin")
    assert parse_until("2026-12-01", timezone=berlin) == 1_796_079_600_000
    assert parse_until("2026-12-01 08:30", timezone=berlin) == 1_796_079_600_000 + 8 * 3_600_000 + 30 * 60_000
    for text in ("", "tomorrow", "2026-13-01", "2026-12-01 25:00", "0001-01-01 00:00:00"):
        with pytest.raises(ValueError, match="is not a time; accepted is YYYY-MM-DD"):
            parse_until(text, timezone=berlin)
