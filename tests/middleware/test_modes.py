"""BUDGET_MODE: `shadow` records and holds as `enforce` does and refuses nothing; `off` does not even look."""

import re

import pytest

from budget_middleware.core.statuses import Op
from budget_middleware.ledger.calls.breaker import OUTAGES
from budget_middleware.stores.errors import StoreUnavailable
from budget_middleware.testing import ScriptedApp, call
from tests.request.wire import KEY, ask, bearer, completion
from tests.stores.verbs import whole_journal


async def test_shadow_holds_and_books_what_would_be_refused(bench):
    app = ScriptedApp(*completion(600))
    guard = bench.guard(app, mode="shadow")
    played = [await call(guard, ask(600), headers=bearer()) for _ in range(3)]
    assert [one.headers["x-budget-remaining-usd"] for one in played] == ["0.40", "-0.20", "-0.80"]
    assert await bench.figures() == ("1.80", "0.00")
    assert await bench.ops() == [Op.RESERVE, Op.FINALIZE] * 3
    assert {entry.limit for entry in await whole_journal(bench.reader)} == {10**9}


async def away():
    raise StoreUnavailable("away")


async def fails(_):
    raise OSError("no directory")


CLOSED = {"on_store_error": "closed", "store_timeout_s": "0.01"}
WOULD_BE_REFUSED = {
    "hostile number": ({}, {"body": ask("many"), "headers": bearer()}),
    "unknown model": ({}, {"body": ask(model="nobody-knows"), "headers": bearer()}),
    "two tokens": ({}, {"body": ask(), "headers": {**bearer(), "x-api-key": "other"}}),
    "accounts_source fails": ({"accounts_source": fails}, {"body": ask(), "headers": bearer()}),
    "store away, closed": (CLOSED, {"body": ask(), "headers": bearer()}),
}


@pytest.mark.parametrize(("settings", "request_"), WOULD_BE_REFUSED.values(), ids=WOULD_BE_REFUSED)
async def test_shadow_refuses_nothing(memory, settings, request_):
    app = ScriptedApp(*completion(600))
    enforcing = memory.guard(app, **settings)
    shadow = memory.guard(app, **settings, mode="shadow")
    if "on_store_error" in settings:
        for guard in (enforcing, shadow):
            memory.store_of(guard).before["reserve"] = away
    assert (await call(enforcing, **request_)).status in (400, 503)
    assert app.scopes == []
    assert (await call(shadow, **request_)).status == 200
    for account in await memory.accounts():
        assert (await memory.figures(account))[1] == "0.00"


async def test_who_is_refused_without_asking_the_store_waits_for_no_release(memory, caplog):
    """Endings that do wait for the store are not crowded out."""
    guard = memory.guard(ScriptedApp(*completion(600)), **CLOSED)
    store = memory.store_of(guard)
    store.before = {"reserve": away, "release": away}
    for _ in range(OUTAGES + 5):
        assert (await call(guard, ask(600), headers=bearer())).status == 503
    assert store.calls.count("reserve") == OUTAGES
    store.before = {}
    await guard.ledger.drain()
    assert len(set(re.findall("sent again: release ([0-9a-f]{32})", caplog.text))) == OUTAGES


async def test_shadow_charges_who_cannot_be_told_to_all_of_them_together(memory):
    guard = memory.guard(ScriptedApp(*completion(600)), mode="shadow")
    await call(guard, ask(600), headers={**bearer(), "x-api-key": "other"})
    assert await memory.figures("key:-") == ("0.60", "0.00")


async def test_off_touches_nothing(memory):
    app = ScriptedApp(*completion(600))
    guard = memory.guard(app, mode="off")
    played = await call(guard, [b"not ", b"JSON"], headers=bearer())
    assert (played.status, app.bodies) == (200, [b"not JSON"])
    assert "x-budget-reservation-id" not in played.headers
    assert memory.store_of(guard).calls == []


async def test_402_instead_of_429(memory):
    guard = memory.guard(ScriptedApp(*completion(600)), exhausted_status="402")
    await call(guard, ask(600), headers=bearer())
    refused = await call(guard, ask(600), headers=bearer())
    assert (refused.status, refused.headers["x-should-retry"]) == (402, "false")


async def test_a_shared_accounts_figures_are_not_shown(memory):
    guard = memory.guard(ScriptedApp(*completion(600)), limits="global=1/month")
    await call(guard, ask(600), headers=bearer())
    refused = await call(guard, ask(600), headers=bearer())
    assert refused.json()["error"]["message"] == "The budget of global per month cannot cover this request."
    assert "x-budget-remaining-usd" not in refused.headers
    assert "ratelimit" not in refused.headers
    assert await memory.figures(KEY) == ("0.60", "0.00")


async def test_what_may_be_a_key_in_a_path_is_not_told(memory, caplog):
    guard = memory.guard(ScriptedApp(*completion(1)))
    await call(guard, {}, path="/hooks/Ab3dE9fGh1JkLmN0pQr/send", headers=bearer())
    assert "/hooks/{id}/send" in caplog.text
    assert "Ab3dE9" not in caplog.text


async def test_an_unmetered_route_is_logged_once_a_template(memory, caplog):
    guard = memory.guard(ScriptedApp(*completion(600)))
    with caplog.at_level("INFO", "budget_middleware"):
        for path in ("/v1/files/file-1a", "/v1/files/file-2b", "/v1/evals", "/v1/files", "/v1/\nERROR"):
            assert (await call(guard, {}, path=path, headers=bearer())).status == 200
    told = [record.getMessage().split()[1] for record in caplog.records if "unmetered" in record.message]
    assert told == ["'/v1/files/{id}'", "'/v1/evals'", r"'/v1/\nERROR'"]
    assert memory.store_of(guard).calls == []


async def test_only_a_post_is_told_to_pass_unmetered(memory, caplog):
    """Who deletes a thing calls no model."""
    guard = memory.guard(ScriptedApp(*completion(600)))
    for method in ("DELETE", "PUT", "PATCH"):
        assert (await call(guard, {}, method=method, path="/v1/evals", headers=bearer())).status == 200
    assert "unmetered" not in caplog.text


@pytest.mark.parametrize(
    ("path", "is_metered"),
    [("/v1/chat/completions", True), ("/v1/ask", True), ("/v1/ask/", True), ("/eu/chat/completions", False)],
)
async def test_more_and_fewer_routes(memory, path, is_metered):
    guard = memory.guard(ScriptedApp(*completion(600)), routes="/ask=openai-chat; -/eu/chat/completions")
    played = await call(guard, ask(600), path=path, headers=bearer())
    assert ("x-budget-reservation-id" in played.headers) is is_metered


async def test_what_is_served_while_the_store_is_away_is_marked_and_booked(memory):
    guard = memory.guard(ScriptedApp(*completion(600)), store_timeout_s="0.01")
    memory.store_of(guard).before["reserve"] = away
    played = await call(guard, ask(600), headers=bearer())
    assert (played.status, played.headers["x-budget-unprotected"]) == (200, "1")
    assert await memory.figures() == ("0.60", "0.00")
