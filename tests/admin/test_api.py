"""What the API's routes answer: the same rows as the command line, in pages, and problems that say what to do."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.prices import PriceSource
from tests.admin.admin_gateway import READ, WRITE
from tests.admin.conftest import OpenClient, RecordingApp

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
NEW = {"confirm": ["new_account"]}
WHY = {"reason": "ticket 4711"}


@pytest.fixture
async def gateway(served: RecordingApp):
    accounts = "key=token; team=header:x-team"
    guarded = BudgetMiddleware(
        served, admin_token=WRITE, admin_read_token=READ, accounts=accounts, limits="team=100/month"
    )
    yield guarded
    await guarded.ledger.drain()


@pytest.fixture
async def api(gateway: BudgetMiddleware, open_client: OpenClient) -> httpx.AsyncClient:
    """A writer's client below the API; the team `a` has asked for something."""
    client = open_client(gateway, WRITE)
    headers = {"authorization": "Bearer sk-1", "x-team": "a"}
    await client.post("/v1/chat/completions", json=CHAT, headers=headers)
    client.base_url = httpx.URL("http://gateway/budget/api")
    return client


async def items_of(api: httpx.AsyncClient, path: str, **params) -> list[dict]:
    answer = await api.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def all_pages(api: httpx.AsyncClient, path: str, **params) -> list[dict]:
    items, cursor = [], None
    while True:
        answer = (await api.get(path, params=params | ({"cursor": cursor} if cursor else {}))).json()
        items += answer["items"]
        if not (cursor := answer["next_cursor"]):
            return items


async def adjust(api: httpx.AsyncClient, account: str, amount: str, **more) -> httpx.Response:
    return await api.post("/adjust", json={"account": account, "amount_usd": amount, **WHY, **more})


async def test_an_adjustment_is_in_the_journal_with_who_and_why(api: httpx.AsyncClient):
    answer = await adjust(api, "team:a", "-1.25", reason="a refund,\n twice")
    assert answer.status_code == 200
    (change,) = answer.json()["changes"]
    assert (change["account"], change["spent_before_usd"][0]) == ("team:a", "0")
    entry = (await items_of(api, "/journal", account="team:a"))[-1]
    assert (entry["spent_delta_usd"], entry["reason"]) == ("-1.25", "by admin token: a refund, twice")


async def test_status_is_of_the_moment_after_a_change(api: httpx.AsyncClient):
    before = {row["account"]: row["spent_usd"] for row in await items_of(api, "/status")}
    await adjust(api, "team:a", "5")
    after = {row["account"]: row["spent_usd"] for row in await items_of(api, "/status")}
    assert before.keys() == after.keys()
    assert before["team:a"] != after["team:a"]
    assert [row["spent_usd"] for row in await items_of(api, "/status/team:a")] == [after["team:a"]]


async def test_pages_have_every_counter_once(api: httpx.AsyncClient):
    for n in range(7):
        await adjust(api, f"team:{n}", "1", **NEW)
    whole = await items_of(api, "/status")
    assert await all_pages(api, "/status", limit=3) == whole
    assert [row["account"] for row in whole] == sorted(row["account"] for row in whole)
    assert [row["account"] for row in await items_of(api, "/status", match="team:3")] == ["team:3"]
    assert await items_of(api, "/status", over_percent=2) == []


async def test_pages_of_the_journal_go_on_to_what_comes_later(api: httpx.AsyncClient):
    for n in range(5):
        await adjust(api, f"team:{n}", "1", **NEW)
    entries, cursor = [], None
    while True:
        params: dict[str, Any] = {"begin": "oldest", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/journal", params=params)).json()
        cursor = page["next_cursor"]
        if not page["items"]:
            break
        entries += page["items"]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert await items_of(api, "/journal", limit=3) == entries[-3:]
    await adjust(api, "team:late", "1", **NEW)
    (late,) = await items_of(api, "/journal", cursor=cursor)
    assert late["account"] == "team:late"


@pytest.mark.parametrize("path", ["/status", "/journal", "/holds", "/refusals", "/limits", "/operator-changes"])
@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "W10", "W251bGxd", "[", "%00", "WyJhIiwiYiIsImMiLCJkIl0"])
async def test_a_cursor_that_is_none_of_ours_is_an_error_in_one_line(api: httpx.AsyncClient, path: str, cursor: str):
    answer = await api.get(path, params={"cursor": cursor})
    assert answer.status_code in (409, 422)
    assert "cursor" in answer.json()["detail"]


async def test_a_slip_of_the_pen_has_to_be_confirmed(api: httpx.AsyncClient):
    new = await adjust(api, "team:serach", "1")
    assert (new.status_code, new.json()["needs"]) == (409, "new_account")
    large = await adjust(api, "team:a", "1000")
    assert (large.status_code, large.json()["needs"]) == (409, "large_amount")
    assert (await adjust(api, "team:a", "1000", confirm=["large_amount"])).status_code == 200
    assert (await adjust(api, "team:new", "1", **NEW)).status_code == 200


@pytest.mark.parametrize("path", ["/status/", "/explain/"])
async def test_an_unknown_account_is_told_the_closest_names(api: httpx.AsyncClient, path: str):
    await adjust(api, "user:search", "1", **NEW)
    answer = await api.get(f"{path}user:serach")
    assert (answer.status_code, answer.json()["closest"]) == (404, ["user:search"])


async def test_an_explanation_is_of_an_account_or_of_a_request(api: httpx.AsyncClient):
    account = (await api.get("/explain/team:a")).json()
    assert account["account"] == "team:a"
    id_ = (await items_of(api, "/journal"))[0]["reservation_id"]
    assert (await api.get(f"/explain/{id_}")).json()["reservation_id"] == id_
    assert (await api.get(f"/explain/{'0' * 32}")).status_code == 404


async def test_limits_are_replaced_as_a_whole_where_the_etag_still_fits(api: httpx.AsyncClient):
    read = await api.get("/limits/team:a")
    assert read.json()["limits"] == []
    etag = {"if-match": read.headers["etag"]}
    put = await api.put("/limits/team:a", json={"limits": ["10/day", "5/month!soft"], **WHY}, headers=etag)
    assert put.status_code == 200, put.text
    again = await api.get("/limits/team:a")
    assert sorted(again.json()["limits"]) == ["10.00/day", "5.00/month!soft"]
    assert again.headers["etag"] == put.headers["etag"] != read.headers["etag"]
    stale = await api.put("/limits/team:a", json={"limits": ["1/day"], **WHY}, headers=etag)
    assert stale.status_code == 412
    # Limits of others may change meanwhile.
    await api.put("/limits/team:b", json={"limits": ["1/day"], **WHY, **NEW})
    fresh = {"if-match": put.headers["etag"]}
    assert (await api.put("/limits/team:a", json={"limits": ["1/day"], **WHY}, headers=fresh)).status_code == 200
    assert (await api.get("/limits/team:a")).json()["limits"] == ["1.00/day"]
    assert [row["text"] for row in await items_of(api, "/limits")] == ["1.00/day", "1.00/day"]


async def test_limits_are_forgotten(api: httpx.AsyncClient):
    await api.put("/limits/team:a", json={"limits": ["none"], **WHY})
    assert (await api.request("DELETE", "/limits/team:a")).status_code == 422
    gone = await api.request("DELETE", "/limits/team:a", params=WHY)
    assert [row["layer"] for row in gone.json()["binding"]] == ["environment"]
    assert (await api.request("DELETE", "/limits/team:a", params=WHY)).status_code == 404


async def test_a_limit_below_what_is_spent_is_accepted_and_says_so(api: httpx.AsyncClient):
    await adjust(api, "team:a", "50")
    answer = await api.put("/limits/team:a", json={"limits": ["1/month"], **WHY})
    assert answer.status_code == 200
    (warning,) = answer.json()["warnings"]
    assert warning.startswith("team:a is beyond 1.00/month (spent $50.")


async def test_who_set_a_limit_and_why_is_kept(api: httpx.AsyncClient):
    await api.put("/limits/team:a", json={"limits": ["1/month"], **WHY})
    await api.request("DELETE", "/limits/team:a", params={"reason": "by mistake"})
    first, second = await items_of(api, "/operator-changes")
    assert (first["what"], first["reason"]) == ("team:a=1.00/month", "by admin token: ticket 4711")
    assert (second["what"], second["reason"]) == ("team:a=no limit of its own", "by admin token: by mistake")
    assert await all_pages(api, "/operator-changes", limit=1) == [first, second]


async def test_ten_thousand_accounts_are_limited_in_one_call(api: httpx.AsyncClient):
    limits = {f"key:{n:016x}": ["1/day", "500tokens/minute"] for n in range(10_000)}
    unconfirmed = await api.post("/limits", json={"limits": limits, **WHY})
    assert (unconfirmed.status_code, unconfirmed.json()["needs"]) == (409, "new_account")
    answer = await api.post("/limits", json={"limits": limits, **WHY, **NEW})
    assert (answer.status_code, answer.json()) == (200, {"accounts": 10_000})
    assert (await api.get("/limits/key:000000000000270f")).json()["limits"] == ["500tokens/minute", "1.00/day"]
    (change,) = await items_of(api, "/operator-changes")
    assert change["what"].endswith("and 9999 more accounts")
    too_many = {**limits, "team:b": ["1/day"]}
    assert (await api.post("/limits", json={"limits": too_many, **WHY, **NEW})).status_code == 422


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"team:a": ["10/day"], "key:sk-abcdefghijklmnop": ["1/day"]}, "limits, account 2: the subject of a key"),
        ({"team:a": ["ten/day"]}, "limits.team:a: limit 'ten/day'"),
        ({"team:a": ["1/day", "2/day"]}, "limits.team:a: "),
        ({"team:a": []}, "limits.team:a: none is named"),
        ({"team+user:a+b": ["1/day"], "user+team:b+a": ["1/day"]}, "limits: team+user:a+b comes twice"),
        ({}, "body.limits"),
    ],
)
async def test_of_many_limits_none_is_set_where_one_is_wrong(api: httpx.AsyncClient, limits, says: str):
    answer = await api.post("/limits", json={"limits": limits, **WHY, **NEW})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)
    assert "sk-" not in answer.text
    assert await items_of(api, "/limits") == []


async def test_a_transfer_moves_what_is_available(api: httpx.AsyncClient):
    body = {"source": "team:a", "destination": "team:b", **WHY, **NEW}
    done = await api.post("/transfer", json={**body, "amount": "2.50"})
    assert [row["account"] for row in done.json()["changes"]] == ["team:a", "team:b"]
    refused = await api.post("/transfer", json={**body, "amount": "500"})
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("not transferred: team:a month ")
    assert (await api.post("/transfer", json={**body, "amount": "-1"})).status_code == 422


async def test_a_release_gives_back_what_is_pending_and_409_what_has_ended(gateway: BudgetMiddleware, api):
    reservation = gateway.ledger.reservation({"team": "a"}, estimate_usd="1")
    async with reservation:
        (held,) = await items_of(api, "/holds", account="team:a")
        assert held["amount_usd"] == "1.00"
        path = f"/release/{held['id']}"
        assert await items_of(api, "/holds", account="team:b") == []
        answer = await api.post(path, json=WHY)
        assert [row["reserved_usd"] for row in answer.json()["changes"]] == ["0.00"]
        assert (await items_of(api, "/journal"))[-1]["reason"] == "by admin token: ticket 4711"
        again = await api.post(path, json=WHY)
        assert (again.status_code, again.json()["detail"]) == (
            409,
            "not released: its lease is over, it holds nothing any more",
        )
    assert (await api.post(path, json=WHY)).status_code == 409
    assert (await api.post(f"/release/{'0' * 32}", json=WHY)).status_code == 404
    assert (await api.post("/release/1", json=WHY)).status_code == 422


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "body.reason"),
        ({"account": "team:a", "amount_usd": "1"}, "body.reason"),
        ({"account": "team:a", "amount_usd": "1", "reason": "  "}, "body.reason"),
        ({"account": "team:a", "amount_usd": "1", "reason": "a\x00b"}, "body.reason"),
        ({"account": "team:a", "amount_usd": "1", "reason": "\u202egnp.exe"}, "body.reason"),
        ({"account": "team:a", "amount_usd": "1", "reason": "x" * 501}, "body.reason"),
        ({"account": "team:a", "amount_usd": 1.5, **WHY}, "body.amount_usd"),
        ({"account": "team:a", "amount_usd": "NaN", **WHY}, "body.amount_usd"),
        ({"account": "team:a", "amount_usd": "0", **WHY}, "body.amount_usd"),
        ({"account": "team:a", "amount_usd": "1e99", **WHY}, "body.amount_usd"),
        ({"account": "team:<b>x</b>", "amount_usd": "1", **WHY}, "body.account"),
        ({"account": "team:a\nb", "amount_usd": "1", **WHY}, "body.account"),
        ({"account": "team:\u202ea", "amount_usd": "1", **WHY}, "body.account"),
        ({"account": "key:sk-1234567890123456", "amount_usd": "1", **WHY}, "body.account"),
        ({"account": "team:a", "amount_usd": "1", **WHY, "extra": 1}, "body.extra"),
        ({"account": "team:a", "amount_usd": "1", **WHY, "confirm": ["everything"]}, "body.confirm"),
    ],
)
async def test_a_body_that_cannot_be_is_told_where(api: httpx.AsyncClient, body: dict, at: str):
    answer = await api.post("/adjust", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["detail"].startswith(at)
    assert "sk-" not in answer.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b'"x"', b"[]", b"null", b"\xff", b'{"account": "\\ud800"}', b"[" * 100_000]
)
async def test_a_body_that_is_no_json_object_is_an_error(api: httpx.AsyncClient, body: bytes):
    answer = await api.post("/adjust", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_another_media_type_is_no_way_around_the_preflight(api: httpx.AsyncClient):
    body = json.dumps({"account": "team:a", "amount_usd": "1", **WHY})
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = await api.post("/adjust", content=body, headers={"content-type": media_type})
        assert answer.status_code == 422


async def test_names_of_clients_are_shown_safely(gateway: BudgetMiddleware, api: httpx.AsyncClient):
    hostile = "<script>alert(1)</script>\u202e"
    headers: Any = {"authorization": "Bearer sk-1", "x-team": hostile.encode()}
    await api.post("http://gateway/v1/chat/completions", json=CHAT, headers=headers)
    (row,) = await items_of(api, "/status", match="team:%3Cscript")
    assert row["account"].isascii()
    assert "<" not in row["account"]
    answer = await api.get(f"/status/{row['account'].replace('%', '%25').replace('/', '%2F')}")
    assert [each["account"] for each in answer.json()["items"]] == [row["account"]]
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("application/json", "nosniff")


async def test_a_parameter_that_nobody_knows_is_an_error(api: httpx.AsyncClient):
    answer = await api.get("/status", params={"mach": "team"})
    assert (answer.status_code, answer.json()["errors"][0]["at"]) == (422, "query.mach")


async def test_a_method_that_is_none_is_told_those_that_are(api: httpx.AsyncClient):
    answer = await api.patch("/limits/team:a")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, PUT")
    assert (await api.patch("/limits")).headers["allow"] == "GET, POST"


async def test_what_reads_everything(api: httpx.AsyncClient):
    audit = (await api.get("/audit")).json()
    assert (audit["drift"], audit["damage"]) == ([], [])
    assert (await api.get("/audit", params={"history": True})).status_code == 422
    report = (await api.get("/report", params={"by": "team", "per": "day"})).json()
    assert report["total"]["requests"] == sum(row["requests"] for row in report["rows"]) == 1
    assert (await api.get("/report", params={"by": "<b>"})).status_code == 422
    checks = {finding["check"]: finding for finding in (await api.get("/doctor")).json()}
    assert checks["admin"]["status"] == "ok"


async def test_what_a_request_would_hold(api: httpx.AsyncClient):
    row = (await api.get("/estimate", params={"model": "gpt-4o", "max_tokens": 10})).json()
    assert (row["model"], row["output_tokens"]) == ("gpt-4o", 10)
    assert (await api.get("/estimate", params={"model": "nobody-knows"})).status_code == 404


@pytest.mark.parametrize("store", ["memory://", "sqlite:///{}/budget.db"])
async def test_the_prices_are_those_of_the_gateway(
    served: RecordingApp, open_client: OpenClient, tmp_path: Path, store: str
):
    """What its code says of them too, and nobody reads a file for each question."""
    ours: PriceSource = {"ours": "gpt-4o"}.get
    gateway = BudgetMiddleware(served, admin_token=WRITE, store_url=store.format(tmp_path), price_source=ours)
    asked = open_client(gateway, WRITE)
    row = (await asked.get("/budget/api/estimate", params={"model": "ours", "max_tokens": 10})).json()
    assert (row["model"], row["output_tokens"]) == ("gpt-4o", 10)
    limited = await asked.put("/budget/api/limits/model:ours", json={"limits": ["1/day"], **WHY, **NEW})
    assert limited.json()["warnings"] == [
        "model:ours is no account of requests for that model: they are charged to model:gpt-4o"
    ]
    assert gateway._admin is not None
    await gateway._admin.aclose(timeout_s=10)
    await gateway.ledger.drain()


async def test_every_money_is_a_decimal_string(api: httpx.AsyncClient):
    def money(value, name=""):
        if isinstance(value, dict):
            return [found for key, each in value.items() for found in money(each, key)]
        if isinstance(value, list):
            return [found for each in value for found in money(each, name)]
        return [value] if name.endswith("_usd") and value is not None else []

    for path in ("/status", "/journal", "/explain/team:a", "/report?by=team"):
        found = money((await api.get(path)).json())
        assert found
        assert all(isinstance(each, str) for each in found)
