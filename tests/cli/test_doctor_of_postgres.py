"""`doctor` and other commands beside a real Postgres, and what they say of one that cannot be used."""

import pytest

from budget_middleware.operations.doctor.database import connections_finding, persistence_finding
from budget_middleware.operations.doctor.finding import Health
from tests.cli.conftest import RunCli
from tests.databases.postgres_server import PostgresServer


def test_a_sound_database(cli: RunCli, postgres: PostgresServer, namespace: str):
    env = {"BUDGET_STORE_URL": postgres.url(), "BUDGET_NAMESPACE": namespace, "BUDGET_LIMITS": "key=1/day"}
    ran = cli("doctor", "--json", **env)
    found = {finding["check"]: finding for finding in ran.json}
    assert found["store"]["status"] == "ok"
    assert "Postgres 1" in found["store"]["message"]
    # The tests' server does not wait for the disk.
    assert found["persistence"]["status"] == "warn"
    assert found["connections"]["status"] == "ok"
    assert found["records"]["status"] == "ok"


@pytest.mark.parametrize(
    ("user", "database", "words"),
    [
        ("postgres", "nowhere", "there is no such database"),
        ("stranger", "postgres", "the server does not let this user in"),
    ],
)
def test_one_line_says_what_is_wrong(cli: RunCli, postgres: PostgresServer, user: str, database: str, words: str):
    ran = cli("status", BUDGET_STORE_URL=postgres.url(database, user=user))
    assert ran.code != 0
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_what_outlives_a_crash():
    assert persistence_finding(fsync="on", synchronous_commit="on").status is Health.OK
    assert persistence_finding(fsync="on", synchronous_commit="off").fix == "set synchronous_commit=on"
    assert persistence_finding(fsync="off", synchronous_commit="on").fix == "set fsync=on"


def test_few_connections_are_left():
    assert connections_finding(taken=20, most=100).status is Health.OK
    assert connections_finding(taken=90, most=100).status is Health.WARN
