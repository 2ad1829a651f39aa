"""The documentation held against the code: what it lists is what there is."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from budget_middleware.apis import APIS
from budget_middleware.apis.protocol.usage_rules import reconcile
from budget_middleware.cli import main
from budget_middleware.core.costs.charges import Charge, End, Evidence, OnAbort, charge_of
from budget_middleware.core.costs.pricing import Rates
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.statuses import Op
from budget_middleware.prices import load_prices
from budget_middleware.prices.units import SameAs
from budget_middleware.routing import _FIELDS, RouteKind, Router
from budget_middleware.settings import setting_docs
from budget_middleware.telemetry import Gauges, HistoryGauges, Telemetry, names

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text("utf-8") for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
CONFIGURATION, TRACING = PAGES["configuration.md"], PAGES["tracing.md"]

LARGEST_PICTURE_BYTES = 200_000

every_page = pytest.mark.parametrize("page", PAGES)


def rows(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose head line begins with `head`."""
    lines = text[text.index(f"\n| {head}") + 1 :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def bare(cell: str) -> str:
    return cell.strip("`")


def code(text: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [block for named, block in blocks if named == language]


# Settings.


def test_the_table_of_settings_is_that_of_the_code():
    told = [tuple(map(bare, row)) for row in rows(CONFIGURATION, "variable")]
    assert told == [(doc.variable, doc.default, doc.accepted, doc.meaning) for doc in setting_docs()]


@every_page
def test_variables_are_settings(page):
    known = {doc.variable for doc in setting_docs()}
    assert set(re.findall(r"\bBUDGET_[A-Z_]*[A-Z]\b", PAGES[page])) <= known


def test_the_limits_of_the_page_parse():
    block = next(text for text in code(CONFIGURATION, "") if text.startswith("key="))
    assert len(parse_limits(block)) == 9


def test_the_prices_of_the_page_load(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(next(text for text in code(CONFIGURATION, "toml") if "[models" in text))
    own = load_prices(path)
    assert isinstance(own["my-model"], Rates)
    assert own["my-model"].max_output_tokens == 16384
    assert own["fast"] == SameAs("gpt-4o")


ENDS: dict[str, dict[str, Any]] = {
    "the app was called, no output": {"end": End.CLIENT_GONE, "output_began": False},
    "the client left after output began": {"end": End.CLIENT_GONE},
    "the upstream broke after output began": {"end": End.BROKEN},
    "a 3xx, 4xx or 5xx answer": {"end": End.COMPLETE, "is_error": True},
    "usage was seen": {"end": End.CLIENT_GONE, "actual_nanos": 4},
}
AMOUNTS = {"0": 0, "input": 1, "input + output seen": 2, "estimate": 3, "in full": 4}


def charge(on_abort: OnAbort, **facts) -> Charge:
    known = {"is_error": False, "output_began": True, "actual_nanos": None} | facts
    return charge_of(Evidence(input_nanos=1, seen_nanos=2, estimate_nanos=3, **known), on_abort=on_abort)


@pytest.mark.parametrize("name", ENDS)
def test_the_table_of_aborts_is_that_of_the_code(name):
    cells = next(cells for what, *cells in rows(CONFIGURATION, "| `partial`") if what == name)
    for on_abort, cell in zip(OnAbort, cells, strict=True):
        # What a drained app books in the end is its usage: the client's leaving is no end at all.
        if cell in AMOUNTS:
            assert charge(on_abort, **ENDS[name]).nanos == AMOUNTS[cell], (name, on_abort)


def test_the_table_of_routes_is_that_of_the_code():
    told = {bare(name): re.findall(r"`(\S+)`", routes) for name, routes in rows(CONFIGURATION, "api ")}
    assert set(told) == {api.name for api in APIS}
    for api in APIS:
        assert all(api.matches(f"/prefix{route}") for route in told[api.name]), api.name


def test_the_fields_by_which_a_body_decides_are_those_of_the_code():
    for path, fields in rows(CONFIGURATION, "path ends in "):
        route = Router(()).route_of({"path": "/forms/7" + re.findall(r"`([^`]+)`", path)[0]})
        assert route.kind is RouteKind.SHARED
        assert route.api is not None
        assert set(map(bare, fields.split(", "))) == _FIELDS[route.api.name]


# How a usage is read.

USAGES = rows(PAGES["money.md"], "reported | taken as")


def figures(text: str) -> dict[str, int]:
    """What a cell says in words, such as ``input 2,100, cached 10,000``."""
    return {word: int(number.replace(",", "")) for word, number in re.findall(r"([a-z]+) (\d[\d,]*\d|\d)", text)}


@pytest.mark.parametrize(("reported", "taken"), [(reported, taken) for reported, taken, _ in USAGES])
def test_usages_are_read_as_the_table_says(reported, taken):
    told = figures(reported)
    totals = reconcile(
        input_tokens=told.get("input"),
        output_tokens=told.get("output"),
        total=told.get("total"),
        reasoning=told.get("reasoning", 0),
        cached=told.get("cached", 0),
        text_tokens=told.get("text", 0),
    )
    assert totals is not None
    expected = {f"{word}_tokens": number for word, number in figures(taken).items()}
    assert {name: getattr(totals, name) for name in expected} == expected
    assert (totals.contradiction is not None) is ("*marked*" in taken)


# Spans and metrics.


def test_spans_are_those_of_the_code():
    told = {bare(row[0]) for row in rows(TRACING, "span ")}
    assert told == {names.COUNTER_SPAN, *(f"budget.{op}" for op in Op)}


def test_attributes_are_those_of_the_code():
    constants = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    named = {value for value in constants if value.startswith(("budget.", "gen_ai."))}
    named -= {names.COUNTER_SPAN, *names.LIMIT_EVENTS}
    tables = TRACING.split("\n| attribute ")
    told = {bare(row[0]) for table in tables[1:] for row in rows(f"\n| attribute {table}", "attribute")}
    assert told | {names.STATUS, names.RESERVATION_ID} == named


def test_error_statuses_are_those_of_the_code():
    paragraph = TRACING[TRACING.index("**Errors.**") : TRACING.index("**Parents.**")]
    assert set(re.findall(r"`([a-z_]+)`", paragraph)) == set(map(str, names.ERRORS))


def test_metrics_are_those_of_the_code(monkeypatch):
    made: dict[str, tuple[str, str]] = {}

    def maker(kind: str):
        return lambda name, *, unit, **_: made.update({name: (kind, unit)})

    meter = SimpleNamespace(
        create_histogram=maker("histogram"),
        create_counter=maker("counter"),
        create_observable_gauge=maker("gauge"),
    )
    monkeypatch.setattr("opentelemetry.metrics.get_meter", lambda *_: meter)
    metrics = Telemetry().metrics
    metrics.observe(Gauges(reserved_by_kind=dict, oldest_s=float, spooled=int))
    metrics.observe_history(HistoryGauges(lag_entries=int, lag_s=float))
    assert {bare(name): (kind, bare(unit)) for name, kind, unit, *_ in rows(TRACING, "metric")} == made


def test_alerts_are_those_of_the_rules():
    rules = (ROOT / "examples" / "observability" / "rules.yml").read_text()
    assert [bare(row[0]) for row in rows(PAGES["observability.md"], "alert")] == re.findall(r"alert: (\w+)", rules)


# The architecture.


def test_the_drawing_of_the_layers_is_that_of_the_contract():
    contracts = tomllib.loads((ROOT / "import_contracts.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["id"] == "layers")
    level = {name: number for number, layer in enumerate(layers) for name in re.findall(r"\w+", layer)}
    drawing = next(text for text in code(PAGES["architecture.md"], "") if text.startswith(" faces"))
    drawn = [name for line in drawing.splitlines() for name in re.findall(r"(\w+)(?:/|\.py)", line[:43])]
    assert [level[name] for name in drawn] == sorted(level[name] for name in drawn)
    assert set(drawn) >= {path.parent.name for path in (ROOT / "budget_middleware").glob("*/__init__.py")}


# Commands and links.


@every_page
def test_commands_exist(page, capsys):
    commands = set(re.findall(r"budget-middleware ((?:limit )?[a-z][a-z-]+)\b", PAGES[page]))
    commands -= {command for command in commands if command == "limit"}
    for command in sorted(commands):
        with pytest.raises(SystemExit) as asked:
            main([*command.split(), "--help"])
        assert asked.value.code == 0, command
    capsys.readouterr()


@every_page
def test_links_lead_somewhere(page):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        linked = folder / path if path else folder / page
        assert linked.exists(), target
        if linked.suffix == ".png":
            assert linked.stat().st_size < LARGEST_PICTURE_BYTES, target
            continue
        anchors = {
            re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), flags=re.MULTILINE)
        }
        assert not anchor or anchor in anchors, target


def test_every_page_has_its_place_on_the_site():
    placed = re.findall(r"([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), flags=re.MULTILINE)
    assert sorted(placed) == sorted(PAGES.keys() - {"README.md"})


@every_page
def test_python_blocks_compile(page):
    for block in code(PAGES[page], "python"):
        compile(block, page, "exec")
