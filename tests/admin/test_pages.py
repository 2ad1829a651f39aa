"""What pages show: exact figures with unit and window, and hostile text that harms nobody."""

from dataclasses import replace

import httpx
import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.admin.pages.figures import amount, amounts, span
from budget_middleware.admin.pages.hostile_text import name, shown
from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.model import Balance, Rejection
from budget_middleware.core.units import Amounts, Unit
from budget_middleware.core.windows import Period
from budget_middleware.operations.values import figure
from tests.admin.admin_gateway import WRITE
from tests.admin.pages_client import signed_in
from tests.stores.verbs import adjust, reserve, target

ID = "a" * 32
TEAM = target("team:a", limit="5", period=Period.TOTAL)


@pytest.fixture
async def browser(stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    return await signed_in(stranger, WRITE)


async def test_a_counter_is_shown_with_unit_and_window(gateway: BudgetMiddleware, browser: httpx.AsyncClient):
    await gateway.ledger.store.adjust(adjust("a1", "1234.5678", TEAM, any_window=True))
    page = (await browser.get("/budget/")).text
    assert '$1,234.56<span class="fine">78</span>' in page
    assert "team:a" in page


async def test_a_page_that_is_far_beyond_the_last_is_empty(browser: httpx.AsyncClient):
    for offset in ("999999999", "-1", "1e9", "9" * 40, "x"):
        assert (await browser.get("/budget/", params={"offset": offset})).status_code == 200
    for order in ("account", "nonsense", ""):
        assert (await browser.get("/budget/", params={"order": order, "reversed": "1"})).status_code == 200


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202egnp.exe", "a\x00b", "{{1234*1234}}"],
)
@pytest.mark.parametrize(
    "path", ["/?match={}", "/account?name={}", "/reservation?id={}", "/refusals?account={}", "/limits?account={}"]
)
async def test_what_an_address_says_is_text(browser: httpx.AsyncClient, path: str, hostile: str):
    page = await browser.get("/budget" + path.format(_quoted(hostile)))
    assert page.status_code in (200, 404)
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text
    assert "\u202e" not in page.text
    assert "\x00" not in page.text
    assert "1522756" not in page.text


def _quoted(text: str) -> str:
    return str(httpx.QueryParams({"x": text})).removeprefix("x=")


async def test_a_reason_of_others_is_text(gateway: BudgetMiddleware, browser: httpx.AsyncClient):
    store = gateway.ledger.store
    verb = adjust("a1", "1", TEAM, any_window=True)
    await store.adjust(replace(verb, reason="<b>\u202ereason"))
    page = (await browser.get("/budget/account?name=team:a")).text
    assert "&lt;b&gt;⟨U+202E⟩reason" in page


async def test_a_reservation_is_shown_and_released(gateway: BudgetMiddleware, browser: httpx.AsyncClient):
    await gateway.ledger.store.reserve(reserve(ID, "0.25", TEAM, lease_s=600))
    page = (await browser.get("/budget/reservations")).text
    assert ID[:12] in page
    explained = await browser.get("/budget/reservation", params={"id": ID})
    assert "It holds $0.25" in explained.text


async def test_an_account_tells_its_story(gateway: BudgetMiddleware, browser: httpx.AsyncClient):
    await gateway.ledger.store.adjust(adjust("a1", "1", TEAM, any_window=True))
    page = await browser.get("/budget/account", params={"name": "team:a"})
    assert page.status_code == 200
    assert "1 adjustment" in page.text


@pytest.mark.parametrize(("refused", "folded"), [(3, ""), (5, ">2 more</summary>")])
async def test_refusals_do_not_push_the_journal_out_of_sight(
    gateway: BudgetMiddleware, browser: httpx.AsyncClient, refused: int, folded: str
):
    rejection = Rejection(TEAM, Balance(4), estimate=2)
    now_ms = (await gateway.ledger.store.head()).now_ms
    logged = [LoggedRefusal(now_ms, str(number) * 32, ("team:a",), rejection) for number in range(refused)]
    await gateway.ledger.store.log_refusals(logged)
    page = (await browser.get("/budget/account", params={"name": "team:a"})).text
    assert page.count('<li class="card refusal">') == refused
    assert page.partition("<details")[0].count('<li class="card refusal">') == 3
    assert folded in page
    assert ("<details" in page) == bool(folded)


async def test_nothing_is_known_of_an_account_that_nobody_used(browser: httpx.AsyncClient):
    page = await browser.get("/budget/account", params={"name": "team:nobody"})
    assert (page.status_code, "Nothing is known of" in page.text) == (404, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\x00\n", "a⟨U+0000⟩⟨U+000A⟩"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("\ud800", "⟨U+D800⟩"),
        ("x" * 400, "x" * 300 + "…"),
    ],
    ids=["plain", "override", "control", "zero width", "surrogate", "long"],
)
def test_what_cannot_be_seen_is_shown(text: str, expected: str):
    assert shown(text) == expected
    assert name(text) == f"<bdi>{expected}</bdi>"


@pytest.mark.parametrize(
    ("nanos", "expected"),
    [
        (0, "$0.00"),
        (-1_500_000_000, "\N{MINUS SIGN}$1.50"),
        (1, '$0.00<span class="fine">0000001</span>'),
        (1_234_567_890_000_000, "$1,234,567.89"),
    ],
)
def test_an_amount_is_exact(nanos: int, expected: str):
    assert expected in amount(figure(nanos))
    assert "2 <span" in amount(figure(2, Unit.TOKENS))


def test_amounts_name_each_unit():
    assert amounts(Amounts(usd=10_000_000, tokens=3)).striptags() == "$0.01 + 3 tokens"
    assert amounts(Amounts()).striptags() == "$0.00"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0.4 s"), (65, "1 min 5 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")]
)
def test_a_span_has_two_parts_at_most(seconds: float, expected: str):
    assert span(seconds) == expected
