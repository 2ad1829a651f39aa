"""What the benchmarks say of what they saw: figures that would mean nothing are no figures."""

import argparse
import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import inprocess, profiling, reading, report, saturation_figures, scripts, sizes, summary
from benchmarks.answers import CHAT, CHUNKS, COST_NANOS, OF_MANY_KEYS, STREAM, TOKEN, WHOLE, stream
from benchmarks.checkouts import OTHER, THIS
from benchmarks.guard import MARGINS
from benchmarks.kinds import settings_for
from benchmarks.latency import Latency
from benchmarks.load import LoadFailed, NoAnswer, read_wrk
from benchmarks.rounds import Visit, added, ratio, typical
from benchmarks.saturation import measure
from benchmarks.saturation_figures import Saturation
from benchmarks.scenarios import COMPARISONS, GUARDED
from benchmarks.sizes import Size
from benchmarks.tables import table
from budget_middleware import BudgetMiddleware
from budget_middleware.core.payers.accounts import key_id
from budget_middleware.testing import PlayedRequest, ScriptedApp

ROOT = Path(__file__).parents[2]

WRK = """\
  Latency Distribution
     50%    1.49ms
     75%    1.62ms
     90%    1.85ms
     99%  812.00us
  64123 requests in 3.00s, 43.05MB read
Requests/sec:  21374.33
"""


def test_what_wrk_printed_is_read():
    load = read_wrk(WRK)
    assert (load.requests, load.per_second, load.p50_s, load.p99_s) == (64123, 21374.33, 0.00149, 0.000812)


@pytest.mark.parametrize(
    "trouble",
    ["  Non-2xx or 3xx responses: 1\n", "  Socket errors: connect 0, read 0, write 0, timeout 3\n"],
)
def test_one_failure_is_the_end_of_a_measurement(trouble):
    with pytest.raises(LoadFailed, match=trouble.strip().partition(":")[0]):
        read_wrk(WRK + trouble)


def test_no_answer_at_all_is_a_failure():
    with pytest.raises(NoAnswer, match="no answer came"):
        read_wrk(WRK.replace("64123 requests", "0 requests"))


async def serve_one(status: str) -> tuple[int, str, str]:
    """The bundled client against a server that gives each request that status: its exit code and what it said."""

    async def answer(reader, writer):
        with suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(CHAT.body))
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        arguments = ["-m", "benchmarks.client", str(port), "2", "0.1"]
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
        ask = {"body": CHAT.body, "headers": CHAT.headers, "is_of_many_keys": True}
        out, err = await client.communicate(json.dumps(ask).encode())
    return client.returncode or 0, out.decode(), err.decode()


@pytest.mark.processes
async def test_the_bundled_client_counts_answers():
    status, out, err = await serve_one("200 OK")
    assert (status, err) == (0, "")
    assert json.loads(out)["requests"] >= 2


@pytest.mark.processes
async def test_the_bundled_client_stops_at_an_answer_that_is_no_200():
    status, out, err = await serve_one("503 Service Unavailable")
    assert (status, out) == (1, "")
    assert "503" in err


def visit(scenario: str, number: int, per_second: float, cpu_us: float = 0) -> Visit:
    return Visit(scenario, 32, number, 1, per_second, cpu_us, 0, 0, 0)


def test_a_ratio_is_formed_within_a_round():
    # The machine halves its speed after the first round: medians alone would say 100 / 100.
    ours = [visit("ours", 0, 100, 30), visit("ours", 1, 50, 60), visit("ours", 2, 100, 60)]
    base = [visit("base", 0, 200, 10), visit("base", 1, 100, 20), visit("base", 2, 100, 50)]
    assert typical(ours, "per_second") / typical(base, "per_second") == 1
    assert ratio(ours, base, "per_second") == 0.5
    assert added(ours, base, "cpu_us") == 20


async def ask(middleware: BudgetMiddleware) -> None:
    call = await PlayedRequest(
        CHAT.body.encode(), headers={name.lower(): value for name, value in CHAT.headers.items()}
    ).run(middleware)
    assert call.messages[0]["status"] == 200


WHOLE_ANSWER = (
    {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]},
    {"type": "http.response.body", "body": WHOLE},
)


async def test_an_answer_costs_what_the_books_are_held_to():
    middleware = BudgetMiddleware(ScriptedApp(*WHOLE_ANSWER), **settings_for(1))
    await ask(middleware)
    (view,) = await middleware.ledger.store.counters()
    assert view.counter.account == f"key:{key_id(TOKEN)}"
    assert view.balance.spent == COST_NANOS


@pytest.mark.parametrize("accounts", [1, 3, 8])
async def test_a_request_has_the_accounts_that_its_scenario_names(accounts):
    middleware = BudgetMiddleware(ScriptedApp(*WHOLE_ANSWER), **settings_for(accounts))
    await ask(middleware)
    assert len(await middleware.ledger.store.counters()) == accounts


def test_a_stream_has_usage_only_where_it_was_asked_for():
    plain, asked = stream(with_usage=False), stream(with_usage=True)
    assert (len(plain), len(asked)) == (CHUNKS + 1, CHUNKS + 2)
    assert b"usage" not in b"".join(plain)
    assert json.loads(asked[-2][6:])["usage"]["total_tokens"] == 90


def test_other_keys_are_asked_for_where_a_cache_could_grow():
    assert OF_MANY_KEYS.is_of_many_keys
    assert OF_MANY_KEYS.body == CHAT.body != STREAM.body


def test_what_the_guard_compares_is_measured():
    measured = {scenario.name for scenario in GUARDED.scenarios}
    assert {name for margin in MARGINS for name in (margin.scenario, margin.base)} <= measured


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_has_its_bases(name):
    comparison = COMPARISONS[name]
    assert set(comparison.bases) <= {scenario.name for scenario in comparison.scenarios}


def test_a_table_is_aligned_and_markdown():
    text = table(["what", "a", "b"], [["x", 1_000_000, 0.123], ["longer", 12.34, 567.8]])
    assert text.splitlines() == [
        "| what   |         a |    b |",
        "| ------ | --------: | ---: |",
        "| x      | 1,000,000 | 0.12 |",
        "| longer |      12.3 |  568 |",
    ]


def test_a_sample_counts_for_the_library_or_the_module_that_called_into_python():
    below = (
        "uvicorn.server:serve",
        "budget_middleware.request.exchange:run",
        "budget_middleware.apis.bodies.reading:parse",
    )
    assert profiling.part_of((*below, "json.decoder:decode")) == "budget_middleware.apis"
    assert profiling.part_of((*below[:2], "redis.asyncio.client:execute", "asyncio.streams:write")) == "redis-py"
    assert profiling.part_of(("asyncio.events:_run",)) == "event loop"


def test_the_page_has_a_place_for_every_table():
    page = (ROOT / report.PAGE).read_text("utf-8")
    assert sorted(report.places(page)) == sorted([*report.TOLD, report.SUMMARY])


def test_an_aim_is_told_only_where_it_was_measured():
    bare, ours = Latency("bare", 100, 50, 0), Latency("guarded", 400, 180, 2)
    one, two = Latency("one", 160, 150, 1), Latency("two", 300, 250, 2)
    assert [row.split("|")[2:4] for row in summary.tell({"latency": [bare, one, two, ours]}).splitlines()[2:]] == [
        ["     1.50 ", " at most 1.3 "],
        ["     1.30 ", " at most 1.3 "],
    ]
    assert summary.tell({}) == ""


def test_a_table_that_was_not_measured_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    page = "<!-- figures: sizes -->\nold\n<!-- end -->\n<!-- figures: memory -->\nkept\n<!-- end -->\n"
    facts = {
        "cpu": "a CPU",
        "cores": 2,
        "system": "Linux",
        "python": "3.11",
        "load": "wrk",
        "commit": "abc1234",
        "packages": {"redis": "8"},
        "load_average": [9.7],
    }
    sizes = {"made": "today", "command": "sizes", "machine": facts, "figures": [{"says": "tombstone", "bytes": 198.4}]}
    (tmp_path / "sizes.json").write_text(json.dumps(sizes))
    filled = report.fill(page)
    assert "old" not in filled
    assert "| tombstone |   198 |" in filled
    assert "a CPU, 2 cores (busy with other things: load average 9.7)" in filled
    assert filled.endswith("<!-- figures: memory -->\nkept\n<!-- end -->\n")


def saturation(says: str, number: int, per_second: float, cpu_us: float) -> Saturation:
    return Saturation(
        says, 1, False, 8, number, per_second, cpu_us, busy=0.5, file_bytes=0, server="Valkey 9.1.2, libc"
    )


def test_a_server_of_two_checkouts_is_compared_within_a_round():
    ours = [saturation(THIS, 0, 200, 100), saturation(THIS, 1, 100, 200)]
    other = [saturation(OTHER, 0, 100, 200), saturation(OTHER, 1, 50, 400)]
    ours_told, other_told = (
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in saturation_figures.tell([*ours, *other]).splitlines()[-2:]
    )
    assert ours_told == [THIS, "Valkey 9.1.2, libc", "1", "no", "150", "2.00", "150", "6,667", "2.00", "50 %", "0"]
    assert other_told[5:9] == ["1.00", "300", "3,333", "1.00"]


@pytest.mark.processes
def test_recorded_verbs_are_booked_when_they_are_sent_again():
    """By a real server, which the measurement holds to what all pairs come to."""
    options = argparse.Namespace(rounds=1, seconds=0.1, workers=[2], together=[1, 16], server=[None], beside=None)
    visits = measure(options)
    assert {(visit.together, visit.has_file) for visit in visits} == {(1, False), (16, False), (1, True), (16, True)}
    assert all((visit.file_bytes > 0) is visit.has_file for visit in visits)


def test_another_checkouts_records_stand_beside_ours():
    told = sizes.tell([Size("tombstone", 100, THIS), Size("tombstone", 200, OTHER)]).splitlines()
    assert [cell.strip() for cell in told[-1].split("|")[1:-1]] == ["tombstone", "100", "34", "200", "0.50"]


@pytest.mark.processes
async def test_another_checkouts_scripts_are_timed_in_turn_with_ours():
    times = await scripts.measure(5, rounds=2, in_flight=1, beside=ROOT)
    assert [time.says for time in times[5:8]] == [
        f"{OTHER}, {accounts}" for accounts in ("1 account", "3 accounts", "8 accounts")
    ]
    assert {time.calls for time in times} == {2}
    *_, ours, other = (row.split("|")[1:-1] for row in scripts.tell([times[2], times[6]]).splitlines())
    assert float(ours[-1]) == pytest.approx(times[2].script_us / times[6].script_us, abs=0.05)
    assert other[-1].strip() == "1.00"


def test_a_request_without_http_is_compared_within_each_round():
    """The machine was twice as slow in the second round."""
    cpu_us = {inprocess.BASE: (100.0, 200.0), "guarded": (150.0, 300.0)}
    figures = [
        inprocess.Visit(says, number, calls=1000.4, cpu_us=each)
        for says, two in cpu_us.items()
        for number, each in enumerate(two)
    ]
    *_, row = inprocess.tell(figures).splitlines()
    assert [cell.strip() for cell in row.strip("| ").split("|")] == ["guarded", "1,000", "225", "1.50"]


def test_readings_are_told_by_their_least_beside_the_other_checkout():
    found = [
        reading.Reading(code, "chat", 10, "one by one", us) for code, us in ((THIS, 30.0), (OTHER, 100.0), (THIS, 20.0))
    ]
    assert reading.tell(found).splitlines()[-1].split("|")[2:-1] == ["     10 ", " 20.0 ", "           100 ", "  0.20 "]
