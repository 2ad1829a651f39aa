"""The tables of APIs in docs/apis.md and of refusals in docs/requests.md say what the code does."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from budget_middleware import BudgetMiddleware
from budget_middleware.apis import _SESSION_DIALECTS, APIS
from budget_middleware.apis.jobs.batches import BATCH_APIS
from budget_middleware.apis.jobs.looks import JOB_APIS
from budget_middleware.apis.json_rpc.calls import rpc_apis
from budget_middleware.routing import RouteKind, Router
from budget_middleware.stores.memory.store import MemoryStore
from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.recordings.recording_files import PRICES, recordings

DOCS = Path(__file__).parents[2] / "docs"
JOBS = {api.name for api in (*BATCH_APIS, *JOB_APIS)}
RPC_APIS = tuple(rpc_apis(lambda _: True, lambda name: (name,)))
RPC_NAMES = {api.name for api in RPC_APIS}
ROUTER = Router((), own_apis=RPC_APIS)
NO_API = {"free": RouteKind.FREE, "unmetered": RouteKind.UNKNOWN}


class Row(NamedTuple):
    api: str
    wires: set[str]
    paths: list[str]


def _cells(page: str, heading: str, columns: int) -> list[list[str]]:
    section = (DOCS / page).read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines()]
    return [cells for cells in lines if len(cells) == columns and cells[0] not in ("api", "---")]


def _rows() -> dict[str, Row]:
    rows = {}
    for api, wires, requests, _ in _cells("apis.md", "APIs and wires", 4):
        name = api.strip("`")
        paths = [path.replace("MODEL", "test-model") for path in re.findall(r"`POST (\S+)`", requests)]
        assert name not in rows
        rows[name] = Row(name, set(wires.split(", ")), paths)
    return rows


def _fields_of_refusals() -> dict[str, list[set[str]]]:
    """By API the fields of each of its refusals; under "" those of all other APIs."""
    fields: dict[str, list[set[str]]] = {}
    for apis, bodies, _ in _cells("requests.md", "Refusals", 3):
        shapes = [set(re.findall(r'"(\w+)"', body)) for body in re.findall(r"`([^`]+)`", bodies)]
        fields |= dict.fromkeys(re.findall(r"`([\w-]+)`", apis) or [""], shapes)
    return fields


def _fields_of(body: object) -> set[str]:
    """The names of all fields, but for details that an API leaves to each error. All but `param` have a value."""
    if not isinstance(body, dict):
        return set()
    named = {name: value for name, value in body.items() if name not in ("data", "details")}
    assert all(value for name, value in named.items() if name != "param")
    return named.keys() | set[str]().union(*map(_fields_of, named.values()))


ROWS = _rows()
REFUSED = _fields_of_refusals()
CASES = [(row.api, path) for row in ROWS.values() for path in row.paths]


def test_every_api_has_a_row_and_every_row_an_api():
    sessions = {dialect.api.name for dialect in _SESSION_DIALECTS}
    assert ROWS.keys() - NO_API.keys() == {api.name for api in (*APIS, *RPC_APIS)} | sessions | JOBS
    assert {row.api for row in ROWS.values() if "session" in row.wires} == sessions


def test_every_wire_of_the_table_is_known_and_every_recorded_one_in_it():
    recorded = {(each.api, each.wire) for each in recordings().values()}
    wires = {(row.api, wire) for row in ROWS.values() for wire in row.wires if row.api not in NO_API}
    assert recorded == wires


@pytest.mark.parametrize(("api", "path"), CASES)
def test_a_request_of_the_table_goes_where_it_says(api: str, path: str):
    route = ROUTER.route_of({"path": path})
    if api in NO_API:
        assert route.kind is NO_API[api]
    else:
        may_be_shared = api in JOBS or path == "/mcp/SERVER"
        assert route.kind is RouteKind.METERED or (may_be_shared and route.kind is RouteKind.SHARED)
        assert route.api is not None
        assert route.api.name == api


@pytest.mark.parametrize(("api", "path"), [case for case in CASES if case[0] not in NO_API])
async def test_a_spent_budget_refuses_it_in_the_shape_that_it_says(api: str, path: str):
    guard: Any = BudgetMiddleware(
        ScriptedApp(*json_answer({})), store=MemoryStore(), prices=str(PRICES), limits="key=0.000000001/day"
    )
    body: dict[str, Any] = {
        "model": "test-model",
        "input": "some words",
        "query": "x",
        "documents": ["x"],
        "max_tokens": 600,
    }
    if api in JOBS:
        body |= {"input_file_id": "file-1", "requests": [{"custom_id": "c", "params": {}}], "data_source": {}}
    if api in RPC_NAMES:
        body |= {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    played = await call(guard, body, path=path, headers={"authorization": "Bearer sk-one"})
    assert played.status == 429
    assert _fields_of(played.json()) in REFUSED.get(api, REFUSED[""])


def test_refusals_are_those_of_known_apis():
    assert REFUSED.keys() - {""} <= ROWS.keys()


@pytest.mark.parametrize(("page", "columns"), [("holds.md", 3), ("answers.md", 2)])
def test_every_api_of_requests_has_a_row_about_what_it_holds_and_what_it_costs(page: str, columns: int):
    named = [name for cells in _cells(page, "By API", columns) for name in re.findall(r"`([\w-]+)`", cells[0])]
    sessions = {dialect.api.name for dialect in _SESSION_DIALECTS}
    assert sorted(named) == sorted({api.name for api in APIS} - (sessions - {"openai-responses"}))
