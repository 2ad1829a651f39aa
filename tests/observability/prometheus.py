"""A real Prometheus, and what it answers."""

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.e2e.servers import REPOSITORY, free_port, wait_for_port
from tests.test_docs import PAGES, bare, rows

EXAMPLES = REPOSITORY / "examples" / "observability"
_PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def query(self, expr: str) -> list[Sample]:
        return [Sample(each["metric"], float(each["value"][1])) for each in self._get("query", query=expr)["result"]]

    def value(self, expr: str) -> float:
        """The one value of an expression; NaN if there is none."""
        found = self.query(expr)
        assert len(found) <= 1, found
        return found[0].value if found else math.nan

    def wait_for(self, expr: str, *, at_least: float = 0, at_most: float = math.inf) -> None:
        """Until the one value of an expression is so: a scrape may be what it waits for."""
        until = time.monotonic() + _PATIENCE_S
        while not at_least <= (value := self.value(expr)) <= at_most:
            assert time.monotonic() < until, f"{expr} is {value}"
            time.sleep(0.2)

    def wait_until_ready(self) -> None:
        """It listens before it answers: until then, 503."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready"):
                    return
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def names(self) -> set[str]:
        return set(self._get("label/__name__/values"))

    def _get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urlencode(query)}") as answer:
            return json.load(answer)["data"]


@contextmanager
def running_prometheus(folder: Path, *, ports: Sequence[int]) -> Iterator[Prometheus]:
    """Scrapes these ports, and watches the example's rules."""
    port, log = free_port(), folder / "prometheus.log"
    shutil.copy(EXAMPLES / "rules.yml", folder)
    # Labels are honoured as in the example: a collector says whose figures it shows.
    job = {"honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{each}" for each in ports]}]}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "gateway", **job}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for_port(port, process, log)
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        prometheus.wait_until_ready()
        yield prometheus
    finally:
        process.terminate()
        process.wait()


WAITS = "budget_wait_duration_seconds"
"""Has a series only where requests have waited for budget."""

# No request asks for tokens, or counts requests, yet.
_HISTORY = {"budget_history_lag", "budget_history_lag_duration_seconds"}
_WITHOUT_A_SERIES = {
    "budget_reserved_tokens",
    "budget_reserved_requests",
    "budget_reserved_inflight",
    WAITS,
    *_HISTORY,
}


def told_names() -> set[str]:
    """Metrics as the page says that Prometheus names them, those that have a series today."""
    return {bare(row[1]) for row in rows(PAGES["observability.md"], "metric")} - _WITHOUT_A_SERIES
