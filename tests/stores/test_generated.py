"""What Python says once, the scripts say after it: a change in Python is one in Lua."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
import redis.asyncio

from budget_middleware import stores
from budget_middleware.core import statuses, transitions
from budget_middleware.core.model import Reservation
from budget_middleware.core.statuses import Op, State, Status
from budget_middleware.core.units import Amounts
from budget_middleware.core.verbs import Extend
from budget_middleware.stores import base, errors, retention
from budget_middleware.stores.records import records
from budget_middleware.stores.redis import keys, lua_text, replies, scripts
from budget_middleware.stores.redis.generated import literal, with_python_constants
from budget_middleware.stores.redis.scripts import SHARED, VERBS_OF_REQUESTS, script_of
from budget_middleware.testing import MovableClock
from tests.stores.conftest import OpenStore
from tests.stores.verbs import figures, finalize, release, reserve

LUA = Path(stores.__file__).parent / "lua"

on_server = pytest.mark.parametrize("make_store", ["server"], indirect=True)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Scripts are composed anew with whatever is changed by it, and once more when the test is over."""
    script_of.cache_clear()
    yield monkeypatch
    script_of.cache_clear()


# Each change is made in Python alone, and the server behaves accordingly.


@on_server
async def test_how_many_are_swept(open_store: OpenStore, clock: MovableClock, planted: pytest.MonkeyPatch):
    planted.setattr(base, "SWEPT_PER_VERB", 2)
    store = open_store()
    for number in range(5):
        await store.reserve(reserve(f"old{number}", "0.01"))
    clock.advance(s=60)
    assert len((await store.reserve(reserve("new", "0.01"))).entries) == 2 + 1


@on_server
async def test_what_an_ending_answers(open_store: OpenStore, planted: pytest.MonkeyPatch):
    changed = {**transitions.ENDINGS, (Op.FINALIZE, State.PENDING): Status.FINALIZED_LATE}
    planted.setattr(transitions, "ENDINGS", MappingProxyType(changed))
    store = open_store()
    await store.reserve(reserve("r1", "0.60"))
    assert (await store.finalize(finalize("r1", "0.10"))).status is Status.FINALIZED_LATE


@on_server
async def test_what_an_extension_answers(open_store: OpenStore, planted: pytest.MonkeyPatch):
    planted.setattr(transitions, "EXTENSIONS", {**transitions.EXTENSIONS, None: Status.TOO_OLD})
    assert (await open_store().extend(Extend("r1", lease_ms=1))).status is Status.TOO_OLD


@on_server
async def test_what_a_state_adds_to_its_counters(open_store: OpenStore, planted: pytest.MonkeyPatch):
    """A release that costs what was asked for."""
    by_state = {State.RELEASED: "asked", State.FINALIZED: "actual"}
    booked = property(lambda self: getattr(self, by_state[self.state]) if self.state in by_state else Amounts())
    planted.setattr(Reservation, "booked", booked)
    store = open_store()
    await store.reserve(reserve("r1", "0.60", charge="0.05"))
    assert await figures(store) == ("0.00", "0.60")
    await store.release(release("r1"))
    assert await figures(store) == ("0.60", "0.00")


@on_server
async def test_which_steps_are_numbered(open_store: OpenStore, planted: pytest.MonkeyPatch):
    planted.setattr(statuses, "may_book", lambda op, status: op is not Op.FINALIZE)
    store = open_store()
    await store.reserve(reserve("r1", "0.60"))
    await store.finalize(finalize("r1", "0.10"))
    (record,) = await store._client().zrange(f"{store._prefix}entries", -1, -1)  # type: ignore[attr-defined]
    assert record.startswith("2 1 2\n")


@on_server
async def test_when_a_counter_is_full(open_store: OpenStore, planted: pytest.MonkeyPatch):
    planted.setattr(transitions, "FULL", 10**9)
    store = open_store()
    await store.finalize(finalize("r1", "1.00"))
    with pytest.raises(errors.StoreRefused, match="is full"):
        await store.reserve(reserve("r2", "0.01", enforce=False))


@on_server
async def test_how_long_what_booked_nothing_is_remembered(open_store: OpenStore, planted: pytest.MonkeyPatch):
    planted.setattr(retention, "FORGOTTEN_EARLY", frozenset({Status.FINALIZED_UNRESERVED}))
    store = open_store()
    await store.finalize(finalize("r1", "0.10"))
    await store.release(release("r2"))
    left_ms = [await store._client().pttl(f"{store._prefix}r:{id_}") for id_ in ("r1", "r2")]  # type: ignore[attr-defined]
    assert left_ms[0] <= retention.RELEASED_MS < left_ms[1]


@on_server
async def test_where_records_are(open_store: OpenStore, planted: pytest.MonkeyPatch):
    planted.setattr(keys, "RESERVATION", "q")
    store = open_store()
    await store.reserve(reserve("r1", "0.60"))
    assert await store._client().exists(f"{store._prefix}q:r1")  # type: ignore[attr-defined]


def test_what_the_fields_of_a_record_are(planted: pytest.MonkeyPatch):
    planted.setattr(records, "RESERVATION_FIELDS", (*records.RESERVATION_FIELDS[:-1], "span"))
    script = script_of("reserve", "").text
    assert "(record.due == '' and '' or ' due=') .. record.due .. (record.span == '' and" in script
    assert "due = '', span = ''}" in script


def test_in_which_order_a_reply_has_its_fields(planted: pytest.MonkeyPatch):
    planted.setattr(replies.Head, "_fields", ("written", "status"))
    assert "return written .. ' ' .. status .. (targets and" in script_of("reserve", "").text


# The texts.


@pytest.mark.parametrize(
    "verb", [*VERBS_OF_REQUESTS[:1], "expire", "adjust", "transfer", "repair", "sweep", "examine", "limit_news"]
)
def test_no_name_of_pythons_is_left_over(verb: str):
    text = re.sub(r"--.*|'[^']*'", "", script_of(verb, lua_text("_clock")).text)
    capitals = set(re.findall(r"\b[A-Z][A-Z_0-9]{2,}\b", text)) - {"KEYS", "ARGV"}
    declared = {name for names in re.findall(r"local ([A-Z][A-Z_0-9, ]*)", text) for name in names.split(", ")}
    assert capitals <= {name.strip() for name in declared}


@pytest.mark.parametrize("verb", sorted(path.stem for path in LUA.glob("[a-z]*.lua")))
async def test_the_server_takes_every_script(server_url: str, verb: str):
    """Lua has room for 200 local variables, and a file that all scripts share takes some of each."""
    async with redis.asyncio.Redis.from_url(server_url) as client:
        await client.script_load(script_of(verb, lua_text("_clock")).text)


def test_no_word_stands_in_lua_that_python_has():
    """Statuses, states, verbs. Fields of a counter's hash have such names too, and only Lua uses them."""
    words = {*map(str, Status), *map(str, State), *map(str, Op)} - {"reserved", "adjusted", "repaired"}
    files = (*SHARED, "_rejections", *VERBS_OF_REQUESTS, "expire", "transfer", "repair", "sweep", "head", "limit")
    for name in files:
        written = set(re.findall(r"'([a-z_]+)'", re.sub(r"--.*", "", lua_text(name))))
        assert not written & words, name


def test_a_script_has_each_declaration_once_and_none_that_it_does_not_use():
    text = script_of("reserve", lua_text("_clock")).text
    assert text.count("local function figures_of(") == text.count("local function ending_of(") == 1
    assert "KEY_TYPES" not in text
    assert scripts.script_of("examine", "").text.count("local KEY_TYPES = ") == 1


def test_names_in_comments_declare_nothing():
    assert "local function ending_of" not in with_python_constants(["-- ending_of says what it answers"])


@pytest.mark.parametrize("value", ["it's", "back\\slash", "new\nline", "€", 2**53 + 1, {"no name": 1}])
def test_what_lua_could_misread_is_not_composed(value: object):
    with pytest.raises(AssertionError):
        literal(value)  # type: ignore[arg-type]
