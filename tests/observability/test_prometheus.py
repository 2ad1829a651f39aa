"""The dashboard and the alert rules, asked of a real Prometheus that scraped real workers."""

import math
import re
import subprocess
from collections.abc import Callable, Sequence

import pytest

from tests.observability.prometheus import EXAMPLES, Sample, told_names
from tests.observability.scraped_story import SPOOL_MAX, Story, expressions, panels

# The first test also waits for the story: workers, a killed one, leases, a store that goes away.
pytestmark = [pytest.mark.observability, pytest.mark.processes, pytest.mark.timeout(240)]

PANELS = {panel["title"]: panel for panel in panels()}
Answer = Sequence[Sample]


def labels(answer: Answer, name: str) -> set[str]:
    return {sample.labels[name] for sample in answer}


def values(answer: Answer) -> dict[str, float]:
    """By the one label that tells them apart."""
    return {"".join(sample.labels.values()): sample.value for sample in answer}


def between(low: float, high: float) -> Callable[[Answer, Story], bool]:
    return lambda answer, _: len(answer) == 1 and low < answer[0].value < high


def is_held(answer: Answer, story: Story) -> bool:
    return values(answer) == {kind: float(story.held_usd) for kind in ("key", "global")}


REFUSALS = {"spent", "held", "bad_request", "unknown_model"}
WORKERS_OPS = {"reserve", "finalize", "release", "expire"}

Check = Callable[[Answer, Story], bool]
BUSY: dict[str, list[Check]] = {
    "Spent per hour": [between(0, 3600)],
    "Reserved now": [is_held],
    "Oldest reservation": [between(0, 60)],
    "Burn rate by model": [lambda answer, _: labels(answer, "model") == {"test-model"} and answer[0].value > 0],
    "Reserved and spent": [is_held, between(0, 100)],
    "Refusals by reason": [lambda answer, _: labels(answer, "status") == REFUSALS],
    "Requests by what became of them": [
        lambda answer, _: labels(answer, "status") == {*REFUSALS, "complete", "client_gone", "unmetered"}
    ],
    "Oldest reservation by worker": [lambda answer, _: sorted(s.value > 0 for s in answer) == [False, True]],
    "Leases that ran out, per minute": [between(0, 60)],
    # Most held 64 tokens and used 40; the clients that left in mid-stream had held a hundred times what they saw.
    "Estimate over actual cost": [between(0.8, 2), between(0.8, 2), between(3, 101)],
    "Store latency": [lambda answer, _: labels(answer, "op") == WORKERS_OPS] * 2,
    "What requests wait for their reservation": [between(0, 5)] * 2,
}
AWAY: dict[str, list[Check]] = {
    # Whoever refuses owes an ending, too: its reserve may still arrive.
    "Endings that wait": [lambda answer, _: [sample.value for sample in answer] == [2 * SPOOL_MAX]],
    "Spool": [lambda answer, _: [sample.value for sample in answer] == [SPOOL_MAX] * 2, between(0, 100)],
    "Refusals by reason": [lambda answer, _: values(answer)["unavailable"] > 0],
    "Requests by what became of them": [lambda answer, _: values(answer)["unprotected"] > 0],
}


def test_every_panel_is_checked():
    assert set(PANELS) == {*BUSY, *AWAY}


def test_panels_lie_beside_each_other():
    cells = [
        (column, row)
        for panel in PANELS.values()
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert {column for column, _ in cells} == set(range(24))
    assert len({panel["id"] for panel in PANELS.values()}) == len(PANELS)


@pytest.mark.parametrize("title", BUSY)
def test_a_panel_while_requests_run(story: Story, title: str):
    _prove(story, title, BUSY[title], story.busy)


@pytest.mark.parametrize("title", AWAY)
def test_a_panel_while_the_store_is_away(story: Story, title: str):
    _prove(story, title, AWAY[title], story.away)


def _prove(story: Story, title: str, checks: Sequence[Check], answers) -> None:
    for expr, check in zip(expressions(PANELS[title]), checks, strict=True):
        answer = answers[expr]
        assert answer, f"{expr}: no data"
        assert all(math.isfinite(sample.value) for sample in answer), f"{expr}: {answer}"
        assert check(answer, story), f"{expr}: {answer}"


def test_the_cost_is_what_the_counters_say(story: Story):
    assert math.isclose(story.cost_usd, float(story.spent_usd), rel_tol=1e-9)
    assert story.spent_usd > 0


def test_what_happens_at_once_is_alarmed_at_once(story: Story):
    assert story.firing == {"BudgetUnprotected", "BudgetStoreAway", "BudgetUnmetered", "BudgetEndingsLost"}
    assert {"BudgetEndingsWait", "BudgetHeldRefusals"} <= story.pending


def test_every_rule_is_evaluated_without_an_error(story: Story):
    assert {rule["health"] for rule in story.prometheus.rules()} == {"ok"}
    assert {rule["name"] for rule in story.prometheus.rules()} == set(_alerts())


def test_every_metric_has_the_name_that_the_page_tells(story: Story):
    told = told_names()
    known = {re.sub(r"_(bucket|sum)$", "_count", name) for name in story.prometheus.names()}
    assert {f"{name}_count" if f"{name}_count" in known else name for name in told} == {
        name for name in known if name.startswith("budget_")
    }
    used = {name for panel in PANELS.values() for expr in expressions(panel) for name in _names(expr)}
    used |= _names((EXAMPLES / "rules.yml").read_text())
    assert used <= story.prometheus.names()


def test_rules_and_configuration_are_valid():
    for kind, file in (("rules", "rules.yml"), ("config", "prometheus.yml")):
        subprocess.run(["promtool", "check", kind, file], cwd=EXAMPLES, check=True, capture_output=True)


def test_each_alert_fires_when_it_should():
    done = subprocess.run(
        ["promtool", "test", "rules", "rules_test.yml"], cwd=EXAMPLES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tested = set(re.findall(r'labels: \'\{alertname="(\w+)"', (EXAMPLES / "rules_test.yml").read_text()))
    assert tested == set(_alerts())


def _alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", (EXAMPLES / "rules.yml").read_text())


def _names(text: str) -> set[str]:
    return set(re.findall(r"\bbudget_[a-z_]+(?=[\[{) ])", text))
