"""What Sentinels and nodes of a cluster say, in all the ways in which servers and services of theirs say it."""

import hiredis
import pytest

from budget_middleware.stores.errors import StoreRefused, WrongServer
from budget_middleware.stores.redis.discovery import Question, SlotRange, is_redirection, redirected_to
from budget_middleware.stores.redis.store_url import Address, parse_store_url

ASKED = Address("entry.example.com", 6379)
CLUSTER = Question(parse_store_url("redis+cluster://entry.example.com"))
SENTINEL = Question(parse_store_url("redis+sentinel://entry.example.com/mine"))


@pytest.mark.parametrize(
    ("primary", "address"),
    [
        (["10.0.0.7", 7000, "id"], Address("10.0.0.7", 7000)),
        (["10.0.0.7", 7000, "id", []], Address("10.0.0.7", 7000)),
        (["node7.example.com", 7000, "id", ["ip", "10.0.0.7"]], Address("node7.example.com", 7000)),
        (["fd00::7", 7000, "id", []], Address("fd00::7", 7000)),
        ([None, 7000, "id", []], Address(ASKED.host, 7000)),
        (["", 7000, "id"], Address(ASKED.host, 7000)),
        (["?", 7000, "id", ["ip", "10.0.0.7"]], Address("10.0.0.7", 7000)),
        (["?", 7000, "id", []], Address(ASKED.host, 7000)),
    ],
)
def test_a_node_is_where_the_cluster_says(primary: list[object], address: Address):
    replica = ["10.0.0.8", 7001, "id"]
    ranges = CLUSTER.read([[8192, 16383, replica], [0, 8191, primary, replica]], asked=ASKED)
    assert ranges == (
        SlotRange(0, 8191, address, (Address("10.0.0.8", 7001),)),
        SlotRange(8192, 16383, Address("10.0.0.8", 7001)),
    )


def test_a_sentinel_names_one_primary_for_all_slots():
    assert SENTINEL.read(["10.0.0.7", "6380"], asked=ASKED) == (SlotRange(0, 16383, Address("10.0.0.7", 6380)),)


@pytest.mark.parametrize(
    ("question", "reply", "cause"),
    [
        (CLUSTER, "ERR This instance has cluster support disabled", "not in cluster mode"),
        (CLUSTER, "ERR unknown command 'CLUSTER', with args", "not in cluster mode"),
        (CLUSTER, "NOPERM this user has no permissions to run the 'cluster|slots' command", "lacks rights"),
        (SENTINEL, "ERR unknown command 'SENTINEL', with args", "not a Sentinel"),
        (SENTINEL, "NOAUTH Authentication required.", "another password"),
        (SENTINEL, None, "do not know the service"),
    ],
)
def test_what_is_no_answer_says_what_to_mend(question: Question, reply: str | None, cause: str):
    with pytest.raises(WrongServer) as refused:
        question.read(reply and hiredis.ReplyError(reply), asked=ASKED)
    assert cause in refused.value.cause
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        (CLUSTER, "OK"),
        (CLUSTER, [["0", "1"]]),
        (CLUSTER, [[0, 1, "host"]]),
        (CLUSTER, [[0, 1, ["host", "port"]]]),
        (CLUSTER, [[0, 1, ["host", 70_000]]]),
        (SENTINEL, "OK"),
        (SENTINEL, ["host"]),
        (SENTINEL, ["host", "-1"]),
    ],
)
def test_what_no_server_says_is_refused(question: Question, reply: object):
    with pytest.raises(StoreRefused):
        question.read(reply, asked=ASKED)


@pytest.mark.parametrize(
    ("reply", "address"),
    [
        ("MOVED 3999 10.0.0.7:7000", Address("10.0.0.7", 7000)),
        ("MOVED 3999 node7.example.com:7000", Address("node7.example.com", 7000)),
        ("MOVED 3999 fd00::7:7000", Address("fd00::7", 7000)),
        ("MOVED 3999 :7000", Address(ASKED.host, 7000)),
        ("MOVED 3999 ?:7000", None),
        ("ASK 3999 10.0.0.7:7000", None),
        ("TRYAGAIN Multiple keys request during rehashing of slot", None),
    ],
)
def test_only_moved_names_who_serves_a_slot(reply: str, address: Address | None):
    assert is_redirection(hiredis.ReplyError(reply))
    assert redirected_to(hiredis.ReplyError(reply), asked=ASKED) == address


def test_other_errors_are_no_redirections():
    assert not is_redirection(hiredis.ReplyError("CLUSTERDOWN Hash slot not served"))
    assert not is_redirection("MOVED 3999 10.0.0.7:7000")
