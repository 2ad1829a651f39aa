"""Load from a process of its own: wrk where it is installed, else a bundled Python client (which is slower)."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

BODY = json.dumps(
    {
        "model": "gpt-4o",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Say something nice to me."}],
    }
)
HEADERS = {
    "Content-Type": "application/json",
    "Authorization": "Bearer sk-benchmark",
    "X-Team": "bench",
}
PATH = "/v1/chat/completions"

_WRK_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of load saw: requests a second, latencies in seconds, answers that were no 200."""

    per_second: float
    p50_s: float
    p99_s: float
    requests: int
    failures: int


def client_name() -> str:
    return "wrk" if shutil.which("wrk") else "bundled Python client"


def run_load(port: int, *, connections: int, seconds: float) -> Load:
    if shutil.which("wrk"):
        return _run_wrk(port, connections, seconds)
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(connections), str(seconds)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Load(**found)


def _run_wrk(port: int, connections: int, seconds: float) -> Load:
    script = "".join(
        [
            'wrk.method = "POST"\n',
            f"wrk.body = {json.dumps(BODY)}\n",
            *(f'wrk.headers["{name}"] = "{value}"\n' for name, value in HEADERS.items()),
        ]
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(round(seconds), 1)}s",
            "--latency",
            "-s",
            file.name,
        ]
        url = f"http://127.0.0.1:{port}{PATH}"
        text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    failures = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    total = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    assert total is not None, text
    assert rate is not None, text
    return Load(
        per_second=float(rate[1]),
        p50_s=_percentile(text, "50%"),
        p99_s=_percentile(text, "99%"),
        requests=int(total[1]),
        failures=int(failures[1]) if failures else 0,
    )


def _percentile(text: str, name: str) -> float:
    found = re.search(rf"{name}\s+([0-9.]+)(us|ms|s)", text)
    assert found is not None, text
    return float(found[1]) * _WRK_UNITS[found[2]]


async def _bundled(port: int, connections: int, seconds: float) -> Load:
    head = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(BODY)}\r\n"
    request = (head + "".join(f"{k}: {v}\r\n" for k, v in HEADERS.items()) + "\r\n" + BODY).encode()
    latencies: list[float] = []
    failures = 0
    until = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal failures
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            started = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer.lower())
            await reader.readexactly(int(length[1]) if length else 0)
            latencies.append(time.perf_counter() - started)
            failures += not answer.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    latencies.sort()
    count = len(latencies)
    return Load(count / seconds, latencies[count // 2], latencies[count * 99 // 100], count, failures)


def _main() -> None:
    port, connections, seconds = sys.argv[1:]
    load = asyncio.run(_bundled(int(port), int(connections), float(seconds)))
    print(json.dumps({name: getattr(load, name) for name in Load.__slots__}))


if __name__ == "__main__":
    _main()
