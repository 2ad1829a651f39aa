"""Load from a process of its own: wrk where it is installed, else a bundled Python client, which is slower."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass

from benchmarks.answers import PATH, Ask

_WRK_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

_EACH_WITH_ITS_KEY = """
math.randomseed(os.time())
function request()
  wrk.headers["Authorization"] = "Bearer sk-" .. math.random(1, 1000000000)
  return wrk.format()
end"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of load saw: answers a second, latencies in seconds."""

    per_second: float
    p50_s: float
    p99_s: float
    requests: int


class LoadFailed(Exception):
    """Some answers were no 200 or none at all: figures of that run would mean nothing."""


class NoAnswer(LoadFailed):
    """The time was over before the first answer."""


def client_name() -> str:
    return "wrk" if shutil.which("wrk") else "bundled Python client"


def run_load(ask: Ask, *, port: int, connections: int, seconds: float) -> Load:
    """Ask over so many connections, each one request at a time. Raises LoadFailed unless every answer was a 200."""
    if shutil.which("wrk"):
        return _run_wrk(ask, port, connections, seconds)
    command = [sys.executable, "-m", "benchmarks.client", str(port), str(connections), str(seconds)]
    ran = subprocess.run(command, input=json.dumps(asdict(ask)), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise LoadFailed(ran.stderr.strip())
    return Load(**json.loads(ran.stdout))


def _run_wrk(ask: Ask, port: int, connections: int, seconds: float) -> Load:
    lines = ['wrk.method = "POST"', f"wrk.body = {json.dumps(ask.body)}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in ask.headers.items()]
    if ask.is_of_many_keys:
        lines.append(_EACH_WITH_ITS_KEY)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(lines))
        script.flush()
        # It counts in whole seconds.
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "30s", "--latency"]
        url = f"http://127.0.0.1:{port}{PATH}"
        ran = subprocess.run([*command, "-s", script.name, url], check=True, capture_output=True, text=True)
    return read_wrk(ran.stdout)


def read_wrk(text: str) -> Load:
    """What wrk printed. Raises LoadFailed if it speaks of failures or of no answer."""
    if trouble := re.findall(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text):
        raise LoadFailed("; ".join(trouble))
    total = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    if not total or not rate or not int(total[1]):
        raise NoAnswer(f"no answer came within the time; a longer --seconds may help\n{text}")
    return Load(float(rate[1]), _percentile_s(text, "50%"), _percentile_s(text, "99%"), int(total[1]))


def _percentile_s(text: str, name: str) -> float:
    found = re.search(rf"{name}\s+([0-9.]+)(us|ms|s)", text)
    if not found:
        raise LoadFailed(f"wrk told no {name} latency:\n{text}")
    return float(found[1]) * _WRK_UNITS_S[found[2]]
