"""The demo as a newcomer runs it: in a process of its own, with real servers, to the audit's verdict."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

DEMO = [sys.executable, "-m", "budget_middleware", "demo", "--plain", "--seconds", "6"]


def outcomes(output: str) -> dict[str, int]:
    """The tally as it was shown last."""
    return {name: int(n) for n, name in re.findall(r"(\d+) (answered|cancelled|failed|refused)", output)[-4:]}


def check(output: str) -> None:
    counts = outcomes(output)
    assert set(counts) == {"answered", "cancelled", "failed", "refused"}
    assert all(counts.values()), counts
    assert "erin got 429: The budget of key:" in output
    assert "finalize" in output
    assert "hung up" in output
    assert "no drift, every counter adds up to the nano-dollar.\n" in output
    assert "init writes the settings" in output.splitlines()[-1]


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_two_gateways_share_a_file():
    done = run(*DEMO)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "Two gateways share" in done.stdout
    assert re.search(
        r"^The dashboard: http://127\.0\.0\.1:\d+/budget/ and its token: [0-9a-f]{32}$", done.stdout, re.MULTILINE
    )
    check(done.stdout)


def test_as_json_it_tells_how_it_ended():
    done = run(sys.executable, "-m", "budget_middleware", "demo", "--json", "--seconds", "6")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert set(told) == {"requests", "audit"}
    assert set(told["requests"]) == {"answered", "cancelled", "failed", "refused"}
    assert all(told["requests"].values())
    assert told["audit"]["drift"] == []
    assert told["audit"]["counters"] == 7
    assert told["audit"]["journal_entries"] > told["audit"]["reservations"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(number, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        until_traffic = next(line for line in demo.stdout if "requests:" in line)
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=30)
    assert until_traffic
    assert demo.returncode == 130
    assert errors == ""
    # The folder goes last, after the end of every server was waited for.
    assert list(tmp_path.iterdir()) == []
