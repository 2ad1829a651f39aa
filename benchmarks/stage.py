"""The processes of one comparison: a store, a worker for each app, a provider where one is asked."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from benchmarks.answers import TOKEN
from benchmarks.books import check_books
from benchmarks.load import Load, LoadFailed, NoAnswer, run_load
from benchmarks.scenarios import Comparison, Scenario
from benchmarks.workers import Process, redis_server, redis_url, worker
from budget_middleware.core.payers.accounts import key_id

_KEY = f"key:{key_id(TOKEN)}"


@dataclass(slots=True)
class Stage:
    """Runs load on its workers, and keeps count of what they were asked."""

    store: Process
    workers: Mapping[str, Process]
    _answered: Counter[str] = field(default_factory=Counter)
    _cut_off: Counter[str] = field(default_factory=Counter)

    def load(self, scenario: Scenario, *, connections: int, seconds: float) -> Load:
        """One run of load on a scenario. Raises LoadFailed."""
        port = self.workers[scenario.app].port
        # A load that fails for want of time is booked all the same.
        self._cut_off[scenario.namespace] += connections
        try:
            load = run_load(scenario.ask, port=port, connections=connections, seconds=seconds)
        except LoadFailed as error:
            raise type(error)(f"{scenario.name}, {connections} connections: {error}") from None
        self._answered[scenario.namespace] += load.requests
        return load

    def warm_up(self, scenario: Scenario, *, connections: int) -> None:
        """Load until it answers: what is made lazily may take longer than a visit. Raises LoadFailed."""
        for seconds in (2, 4, 8):
            with suppress(NoAnswer):
                self.load(scenario, connections=connections, seconds=seconds)
                return
        raise NoAnswer(f"{scenario.name} does not answer")

    def check_books(self) -> None:
        """Raises BooksWrong unless every answer that load saw is booked at its cost, and nothing is held."""
        for namespace, answered in self._answered.items():
            if namespace:
                account = _KEY if namespace == "redis_1" else "global"
                most = answered + self._cut_off[namespace]
                asyncio.run(
                    check_books(self.store, namespace=namespace, account=account, at_least=answered, at_most=most)
                )


@contextmanager
def staged(comparison: Comparison, *, python: str = sys.executable) -> Iterator[Stage]:
    """Everything that the comparison needs, started; ``python`` runs its workers."""
    with ExitStack() as stack:
        store = stack.enter_context(redis_server())
        environment = {"BENCH_REDIS_URL": redis_url(store)}
        if comparison.asks_provider:
            provider = stack.enter_context(worker("benchmarks.apps:bare", environment=environment))
            environment["BENCH_UPSTREAM_URL"] = f"http://127.0.0.1:{provider.port}"
        # In the order in which they are told; scenarios may share an app.
        apps = dict.fromkeys(scenario.app for scenario in comparison.scenarios)
        start = partial(worker, environment=environment, python=python)
        yield Stage(store, {app: stack.enter_context(start(app)) for app in apps})
