"""The grammar of limits: what is read, in which canonical form it is written, and where an error points."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.core.limits.grammar import masked_limits, parse_amounts, parse_limits
from budget_middleware.core.limits.limits import LIFTED, MAX_FIGURE, LimitBook, LimitMode, LimitRule, Slot, Terms
from budget_middleware.core.limits.texts import limit_text, rule_text
from budget_middleware.core.money import NANOS_PER_USD
from budget_middleware.core.units import Unit
from budget_middleware.core.windows import PERIODS, Period

DAY, WEEK, MONTH, TOTAL = Period.DAY, Period.WEEK, Period.MONTH, Period.TOTAL
SOFT, SHADOW = LimitMode.SOFT, LimitMode.SHADOW
TOKENS, REQUESTS, INFLIGHT = Unit.TOKENS, Unit.REQUESTS, Unit.INFLIGHT


def usd(dollars: int) -> Terms:
    return Terms(dollars * NANOS_PER_USD)


def test_limits_are_read_in_the_order_written() -> None:
    text = """
    # the defaults
    key=10/day; key = 100 / month   # both bind
    team:research=9000/month

    model+key:gpt-4o+*=0.20/day;
    key+model=1/hour; global=50/day; team:trial=0/total; key:1f3a=none; key:2b=none/day; user:-=2/week
    """
    assert parse_limits(text) == (
        LimitRule(("key",), ("*",), Slot(DAY), usd(10)),
        LimitRule(("key",), ("*",), Slot(MONTH), usd(100)),
        LimitRule(("team",), ("research",), Slot(MONTH), usd(9000)),
        LimitRule(("key", "model"), ("*", "gpt-4o"), Slot(DAY), Terms(NANOS_PER_USD // 5)),
        LimitRule(("key", "model"), ("*", "*"), Slot(Period.HOUR), usd(1)),
        LimitRule(("global",), ("",), Slot(DAY), usd(50)),
        LimitRule(("team",), ("trial",), Slot(TOTAL), usd(0)),
        LimitRule(("key",), ("1f3a",), None, LIFTED),
        LimitRule(("key",), ("2b",), Slot(DAY), LIFTED),
        LimitRule(("user",), ("-",), Slot(WEEK), usd(2)),
    )


def test_nothing_written_is_no_limit() -> None:
    assert parse_limits(" ; \n # only a comment = 1/day\n") == ()


def test_the_same_limit_may_be_written_twice() -> None:
    assert len(parse_limits("key=10/day; key:*=10.00/day; key=10usd/day")) == 1


@pytest.mark.parametrize(
    ("text", "slot", "terms", "canonical"),
    [
        ("10/day", Slot(DAY), usd(10), "10.00/day"),
        ("10 usd / day", Slot(DAY), usd(10), "10.00/day"),
        ("1e2/day", Slot(DAY), usd(100), "100.00/day"),
        ("200000tokens/minute", Slot(Period.MINUTE, TOKENS), Terms(200_000), "200000tokens/minute"),
        ("60 requests/ minute", Slot(Period.MINUTE, REQUESTS), Terms(60), "60requests/minute"),
        ("8inflight", Slot(TOTAL, INFLIGHT), Terms(8), "8inflight"),
        ("0 inflight", Slot(TOTAL, INFLIGHT), Terms(0), "0inflight"),
        ("none", None, LIFTED, "none"),
        ("none/day", Slot(DAY), LIFTED, "none/day"),
        ("none/day!soft", Slot(DAY, mode=SOFT), LIFTED, "none/day!soft"),
        ("nonetokens/minute", Slot(Period.MINUTE, TOKENS), LIFTED, "none tokens/minute"),
        ("none  tokens/minute", Slot(Period.MINUTE, TOKENS), LIFTED, "none tokens/minute"),
        ("none inflight", Slot(TOTAL, INFLIGHT), LIFTED, "none inflight"),
        ("8inflight!shadow", Slot(TOTAL, INFLIGHT, SHADOW), Terms(8), "8inflight!shadow"),
        ("10/day!soft", Slot(DAY, mode=SOFT), usd(10), "10.00/day!soft"),
        ("10/day ! shadow", Slot(DAY, mode=SHADOW), usd(10), "10.00/day!shadow"),
        ("10/day!alert=100,50,50", Slot(DAY), Terms(10 * NANOS_PER_USD, (50, 100)), "10.00/day!alert=50,100"),
        ("10/day!alert= 80 !soft", Slot(DAY, mode=SOFT), Terms(10 * NANOS_PER_USD, (80,)), "10.00/day!soft!alert=80"),
        ("10/day!carry=50%", Slot(DAY), Terms(10 * NANOS_PER_USD, carry=50), "10.00/day!carry=50%"),
        (
            "9tokens/month!carry=100!alert=1",
            Slot(MONTH, TOKENS),
            Terms(9, alerts=(1,), carry=100),
            "9tokens/month!alert=1!carry=100%",
        ),
    ],
)
def test_each_form_and_its_canonical_text(text: str, slot: Slot | None, terms: Terms, canonical: str) -> None:
    assert parse_amounts(text) == {slot: terms}
    assert limit_text(slot, terms) == canonical
    assert parse_amounts(canonical) == {slot: terms}


@pytest.mark.parametrize(
    ("entry", "column", "message"),
    [
        ("key", 4, "'=' is missing; accepted is =AMOUNT[UNIT]/PERIOD, =Ninflight or =none"),
        ("key=", 5, "'' is not an amount"),
        ("key=ten", 5, "'ten' is not an amount; accepted are AMOUNT[UNIT]/PERIOD, Ninflight and none"),
        ("key=ten/day", 5, "'ten' is not an amount; accepted are"),
        ("key=1.2.3/day", 5, "'1.2.3' is not an amount in USD; accepted is a decimal number such as 0.25"),
        ("key=10", 7, "the period is missing; accepted are AMOUNT[UNIT]/PERIOD"),
        ("key=10/day,team=5/day", 11, "',' separates no limits and no digits; accepted is ';' between limits"),
        ("key=1,000/day", 6, "',' separates no limits and no digits"),
        ("key=10/", 8, "the period is missing"),
        ("key=none!soft", 9, "the period is missing"),
        ("key= 10/fortnight", 9, "'fortnight' is not a period; accepted are"),
        ("key=10/Day", 8, "'Day' is not a period"),
        ("key=10/day/day", 8, "'day/day' is not a period"),
        ("key=-1/day", 5, "'-1' is not an amount; accepted is one from 0 upwards, without a sign"),
        ("key=+1/day", 5, "'+1' is not an amount; accepted is one from 0 upwards, without a sign"),
        ("key=nan/day", 5, "'nan' is not an amount"),
        ("key=$10/day", 5, "'$10' is not an amount"),
        ("key=9000001/day", 5, "at most 9000000 USD"),
        (f"key={MAX_FIGURE + 1}tokens/day", 5, f"at most {MAX_FIGURE} tokens"),
        (f"key={'9' * 70}tokens/day", 5, "is too large an amount"),
        ("key=1.5tokens/day", 5, "'1.5' is not an amount of tokens; accepted is a whole number"),
        (
            "key=10 token/day",
            8,
            "'token' is not a unit; accepted are usd, tokens, requests, inflight; without a unit it is USD",
        ),
        ("key=10eur/day", 7, "'eur' is not a unit"),
        ("key=8inflight/day", 14, "'/' is too much: what is in flight has no period; accepted is Ninflight"),
        ("key=none/ever", 10, "'ever' is not a period"),
        ("key=***", 5, "'***' is not an amount"),
        ("key=10/day!sof", 12, "'sof' is not a mode; accepted are !soft, !shadow, !alert=50,80,100 and !carry=50%"),
        ("key=10/day!", 12, "'' is not a mode; accepted are !soft"),
        ("key=10/day!soft=1", 5, "it is not a limit; accepted are"),
        ("key=10/day!alert", 12, "'alert' is not a mode"),
        ("key=10/day!alert=50,,80", 21, "'' is not a percentage; accepted is !alert=50,80,100"),
        ("key=10/day!alert=50,101", 21, "'101' is not a percentage; accepted is !alert=50,80,100"),
        ("key=10/day!carry=0%", 18, "'0' is not a percentage; accepted is !carry=50%"),
        ("key=10/day!soft!shadow", 17, "'shadow' is too much: one is there already"),
        ("key=10/day!soft !soft", 18, "'soft' is too much: one is there already"),
        ("key=10/day!soft!carry=50%", 17, "'carry=50%' goes with a limit that is enforced"),
        ("key=10/total!carry=50%", 14, "'carry=50%' needs a period that follows another"),
        ("key=8inflight!carry=50%", 15, "'carry=50%' needs a period that follows another"),
        ("key=none/day!alert=50", 14, "'alert=50' has no meaning for a limit that is lifted"),
        ("=10/day", 1, "'' is not an account; accepted are KIND:SUBJECT, global and compounds"),
        ("team:a b=10/day", 1, "'a b' is not the subject of an account"),
        ("key:***=10/day", 1, "'***' is not the subject of an account"),
        ("key+model:***=10/day", 1, "'key+model:***' is not an account"),
        ("global:x=1/day", 1, "'global:x' is not an account"),
    ],
)
def test_an_error_names_the_entry_the_column_and_what_is_accepted(entry: str, column: int, message: str) -> None:
    before = "a=1/day;"
    where = f"limit {masked_limits(entry)!r}, column {len(before) + column}: "
    with pytest.raises(ValueError, match=f"^{re.escape(where)}") as error:
        parse_limits(before + entry)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_of_several_lines_the_error_names_the_one() -> None:
    with pytest.raises(ValueError, match=r"^limit 'key=10/dy', line 3, column 10: 'dy' is not a period"):
        parse_limits("key=1/hour\n\n  key=10/dy # a day")


def test_what_may_be_a_token_is_in_no_error() -> None:
    for text in ("key:sk-canary=10/day!soft", "key:x=canary=10/day", "key:x=ca!nary=10/day", "key=1/day!canary=x"):
        with pytest.raises(ValueError, match="column") as error:
            parse_limits(text.replace("10/day", "10/dy"))
        assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("key=10/day; key:*=20/day", 13),
        ("model+key=1/day; key+model=2/day", 18),
        ("key=none/day; key=0/day", 15),
        ("key=8inflight; key=9inflight", 16),
        ("key=8/day!soft; key=8/day!soft!alert=50", 17),
    ],
)
def test_two_amounts_for_one_slot_contradict(text: str, column: int) -> None:
    accepted = "accepted is one for each period, unit and mode, with its alerts and carry"
    with pytest.raises(ValueError, match=f"column {column}: it contradicts an earlier entry; {accepted}"):
        parse_limits(text)


def test_limits_of_several_units_and_modes_stand_side_by_side() -> None:
    text = "key=8/day!soft; key=10/day; key=5/day!shadow; key=10tokens/day; key=10requests/day; key=8inflight"
    assert len(parse_limits(text)) == 6


def test_amounts_alone() -> None:
    assert parse_amounts("10/day; 100/month") == {Slot(DAY): usd(10), Slot(MONTH): usd(100)}
    assert parse_amounts("none") == {None: LIFTED}
    assert parse_amounts("50/day; none") == {None: LIFTED, Slot(DAY): usd(50)}
    assert parse_amounts("none/week") == {Slot(WEEK): LIFTED}
    assert parse_amounts("") == {}


@pytest.mark.parametrize("text", ["10", "key=10/day", "10/day; 20/day", "-1/day", "10/day; 1tokens/day!"])
def test_wrong_amounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"column \d+: .*accepted (is|are)"):
        parse_amounts(text)


@given(st.text(alphabet="key+model:*-%~=0123/dayone;#! \n \u2028", max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    message = ""
    try:
        LimitBook(parse_limits(text))
    except ValueError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


PATTERNS = ("key", "key:*", "team:search/*", "key+model:*+gpt-4o", "global", "user:-", "model:gpt-4o")
SOME_PERIODS = st.sampled_from(PERIODS)
AMOUNTS = st.one_of(st.none(), st.integers(0, 3), st.integers(0, MAX_FIGURE))
ALERTS = st.lists(st.integers(1, 100), max_size=3, unique=True).map(lambda alerts: tuple(sorted(alerts)))


@st.composite
def limits(draw: st.DrawFn) -> tuple[Slot | None, Terms]:
    unit, mode, amount = draw(st.sampled_from(list(Unit))), draw(st.sampled_from(list(LimitMode))), draw(AMOUNTS)
    period = TOTAL if unit is INFLIGHT else draw(SOME_PERIODS)
    if amount is None:
        return (None, LIFTED) if draw(st.booleans()) else (Slot(period, unit, mode), LIFTED)
    may_carry = mode is LimitMode.ENFORCE and period is not TOTAL
    carry = draw(st.integers(0, 100)) if may_carry else 0
    return Slot(period, unit, mode), Terms(amount, draw(ALERTS), carry)


RULES = st.dictionaries(st.sampled_from(PATTERNS), st.lists(limits(), max_size=4), max_size=3)


def text_of(rules: dict[str, list[tuple[Slot | None, Terms]]]) -> str:
    """Of the limits of one slot the first."""
    first = {(pattern, limit[0]): limit for pattern, each in reversed(rules.items()) for limit in reversed(each)}
    return "; ".join(f"{pattern}={limit_text(*limit)}" for (pattern, _), limit in first.items())


@given(RULES)
def test_every_text_is_read_back_from_its_canonical_form(rules: dict[str, list[tuple[Slot | None, Terms]]]) -> None:
    rules.pop("key:*", None)
    found = parse_limits(text_of(rules))
    canonical = "; ".join(map(rule_text, found))
    assert parse_limits(canonical) == found
    assert "; ".join(map(rule_text, parse_limits(canonical))) == canonical


@given(RULES, st.data())
def test_a_damaged_letter_is_another_text_or_an_error_that_points_into_it(
    rules: dict[str, list[tuple[Slot | None, Terms]]], data: st.DataObject
) -> None:
    text = text_of(rules)
    at = data.draw(st.integers(0, len(text)))
    letter = data.draw(st.sampled_from([*"0123 =!/;#%,:*+-.ekdayinoftszxA\n\u2028\u00e9", ""]))
    damaged = text[:at] + letter + text[at + data.draw(st.integers(0, 1)) :]
    try:
        parse_limits(damaged)
    except ValueError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        found = re.search(r", (?:line (\d+), )?column (\d+): ", message)
        assert found is not None
        line = damaged.splitlines()[int(found[1] or 1) - 1]
        assert 1 <= int(found[2]) <= len(line) + 1


class _Counted(str):
    """A text that counts how often it is taken apart."""

    __slots__ = ("n_splits",)
    n_splits: int

    def splitlines(self, keepends: bool = False) -> list[str]:
        self.n_splits += 1
        return super().splitlines(keepends)


def test_a_long_text_is_taken_apart_as_often_as_a_short_one() -> None:
    """A file of limits may have a line for each key."""
    texts = [_Counted("key=10/day\n" * n_lines) for n_lines in (2, 20)]
    for text in texts:
        text.n_splits = 0
        parse_limits(text)
    assert texts[0].n_splits == texts[1].n_splits


TOKEN = "sk-canary-0123456789"


@pytest.mark.parametrize("token", [TOKEN, "0123456789abcdef0123", "eyJhbGciOiJIUzI1NiJ9.e30.x", "abcdefghijklmnopqrst"])
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{}/day",
        "10{}/day",
        "10 {}/day",
        "10/{}",
        "10/day {}",
        "10/day!{}",
        "10/day!alert=50,{}",
        "10/day!carry={}%",
    ],
)
def test_what_may_be_a_token_is_not_repeated(text: str, token: str):
    for parse, written in ((parse_amounts, text), (parse_limits, f"key={text}")):
        with pytest.raises(ValueError, match=r"column \d+: ") as error:
            parse(written.format(token))
        assert token not in str(error.value)
        assert token[:16] not in str(error.value)
