"""Why does this key show that? Answered by Jaeger alone, and the same as the journal and `status` say."""

from decimal import Decimal

import pytest

from budget_middleware.telemetry import names
from tests.jaeger.traced_story import CREDIT_USD, PROMPT, REQUESTS, TOKENS, Story
from tests.jaeger.tracing import COUNTER, Seen, SpanId

# The first test also waits for the workers, the leases and the exporters of the story.
pytestmark = [pytest.mark.jaeger, pytest.mark.processes, pytest.mark.timeout(180)]

ERRORS = {"expired", "finalized_late"}


def test_the_changes_of_an_account_sum_to_its_status(story: Story):
    assert len(story.status) == len(TOKENS) + 1
    for row in story.status:
        changes = story.jaeger.changes(spans_per=story.spans_per, tags={"budget.account": row["account"]})
        assert _sum(changes, names.SPENT_DELTA_USD) == Decimal(row["spent_usd"]) > 0, row
        assert _sum(changes, names.RESERVED_DELTA_USD) == Decimal(row["reserved_usd"]) == 0, row
        last = max(changes, key=_seq)
        assert _usd(last, names.SPENT_AFTER_USD) == Decimal(row["spent_usd"])


def test_the_setting_says_what_gets_a_span(story: Story):
    n_counter_spans = len(story.jaeger.search(operation=COUNTER))
    assert n_counter_spans == (len(story.journal) if story.spans_per == "counter" else 0)
    assert {change.name for change in story.changes} == {COUNTER}


def test_every_journal_entry_is_told_by_one_span_or_event(story: Story):
    told = {_seq(span): span for span in story.changes}
    assert len(told) == len(story.changes), "an entry was told twice"
    assert sorted(told) == [entry["seq"] for entry in story.journal]
    for entry in story.journal:
        span = told[entry["seq"]]
        assert {name: span.tags[f"budget.{name}"] for name in ("op", "account", "period", "window", "status")} == {
            name: entry[name] for name in ("op", "account", "period", "window", "status")
        }
        assert span.tags[names.RESERVATION_ID] == entry["reservation_id"]
        assert _usd(span, names.SPENT_DELTA_USD) == Decimal(entry["spent_delta_usd"])
        assert _usd(span, names.SPENT_AFTER_USD) == Decimal(entry["spent_usd"])
        assert _usd(span, names.RESERVED_DELTA_USD) == Decimal(entry["reserved_delta_usd"])
        assert _usd(span, names.RESERVED_AFTER_USD) == Decimal(entry["reserved_usd"])
        assert span.parents == {(entry["trace_id"], entry["span_id"])}, "its verb's span is the one that is journalled"


def test_a_whole_life_is_one_trace_or_linked(story: Story):
    spans = {span.id: span for span in story.jaeger.search()}
    verbs_of: dict[str, set[SpanId]] = {}
    for change in story.changes:
        verbs_of.setdefault(change.tags[names.RESERVATION_ID], set()).update(change.parents)
    traces_of_lives = []
    for verbs in verbs_of.values():
        verb_by_name = {spans[verb].name: verb for verb in verbs}
        if "budget.adjust" in verb_by_name:
            continue
        reserve = verb_by_name.pop("budget.reserve")
        assert verb_by_name, f"{spans[reserve]}: nothing became of it"
        assert all(reserve in spans[verb].links for verb in verb_by_name.values())
        traces_of_lives.append(len({trace_id for trace_id, _ in verbs}))
    assert len(traces_of_lives) == REQUESTS + 2
    assert set(traces_of_lives) == {1, 2, 3}, "some callers were traced themselves, some were not"


def test_a_killed_workers_hold_leads_from_its_expiry_back_to_it(story: Story):
    reserved, expired = _life(story, story.killed_id)
    assert (reserved.tags["budget.op"], reserved.worker) == ("reserve", "first")
    assert (expired.tags["budget.op"], expired.worker) == ("expire", "second")
    assert expired.id[0] != reserved.id[0]
    [expire] = [span for span in story.jaeger.search(operation="budget.expire") if span.id in expired.parents]
    assert reserved.parents <= expire.links


def test_an_operators_release_and_the_late_cost_are_told_by_who_made_them(story: Story):
    told = [(span.tags["budget.status"], span.worker) for span in _life(story, story.released_id)]
    assert told == [("reserved", "second"), ("expired", "operator"), ("finalized_late", "second")]
    [credit] = [span for span in story.changes if span.tags["budget.op"] == "adjust"]
    assert (credit.worker, _usd(credit, names.SPENT_DELTA_USD)) == ("operator", Decimal(CREDIT_USD))


def test_errors_are_what_an_operator_wants_to_find(story: Story):
    spans = story.jaeger.search()
    assert {span.id for span in spans if span.is_error} == {
        span.id for span in spans if span.tags.get("budget.status") in ERRORS
    }
    found = {span.id[0] for span in spans if span.is_error}
    assert {trace["traceID"] for trace in story.jaeger.traces(tags={"error": "true"})} == found


def test_a_refusal_is_no_error_and_names_the_counter(story: Story):
    [refused] = story.jaeger.search(operation="budget.reserve", tags={"budget.status": "rejected"})
    assert not refused.is_error
    assert refused.tags[names.ACCOUNT_KIND] == "key"
    assert refused.tags[names.LIMIT_USD] == 1
    assert refused.tags[names.ESTIMATE_USD] > 1
    assert not [span for span in story.changes if refused.id in span.parents], "it changed nothing"


def test_explain_leads_to_the_trace_of_each_line(story: Story):
    """Its links are asked for as a browser would."""
    account, killed = story.account, story.killed
    assert len(account["refusals"]) == 1
    assert {change["status"] for change in account["changes"]} >= {"adjusted", "finalized"}
    assert [change["status"] for change in killed["changes"]] == ["reserved"] * 2 + ["expired"] * 2
    lines = [*account["refusals"], *account["changes"], *killed["changes"]]
    for line in lines:
        [trace] = story.jaeger.at(line["trace_url"])
        about = [span for span in trace if span.tags.get("budget.reservation.id") == line["reservation_id"]]
        assert about, line
        status = "rejected" if line in account["refusals"] else line["status"]
        assert status in {span.tags["budget.status"] for span in about}


def test_no_token_and_no_text_is_told(story: Story):
    everything = str(story.jaeger.traces())
    assert COUNTER in everything
    assert not [secret for secret in (*TOKENS, PROMPT, "wordword") if secret in everything]


def _life(story: Story, id_: str) -> list[Seen]:
    """A reservation's changes of its key's counter, in their order."""
    own = [span for span in story.changes if span.tags[names.RESERVATION_ID] == id_]
    return sorted((span for span in own if span.tags[names.ACCOUNT_KIND] == "key"), key=_seq)


def _seq(span: Seen) -> int:
    return int(span.tags[names.JOURNAL_SEQ])


def _usd(span: Seen, name: str) -> Decimal:
    """The shortest decimal of a double is exact for whole nano-dollars below nine million dollars."""
    return Decimal(str(span.tags[name]))


def _sum(spans: list[Seen], name: str) -> Decimal:
    return sum((_usd(span, name) for span in spans), Decimal())
