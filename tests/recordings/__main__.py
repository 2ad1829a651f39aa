"""`python -m tests.recordings [NAME ...]`: runs real clients against fake providers and writes what they said."""

import asyncio
import importlib
import sys
from importlib.metadata import version

import uvicorn

from tests.e2e.servers import free_port
from tests.recordings.calls import CALLS, Call
from tests.recordings.recorder import Recorder
from tests.recordings.recording_files import Recording


async def record(call: Call) -> Recording:
    """Serve the provider, let the client make its call, and return what was said."""
    module, _, name = call.app.partition(":")
    recorder = Recorder(getattr(importlib.import_module(module), name))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(recorder, port=port, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        await call.run(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        await serving
    booked = {"cost_usd": call.cost_usd, "usage": dict(call.usage)}
    return Recording(call.api, call.wire, f"{call.client} {version(call.client)}", booked, recorder.take())


async def main(names: list[str]) -> None:
    for call in CALLS:
        recording = await record(call) if not names or f"{call.api}.{call.wire}" in names else None
        if recording is not None:
            recording.write()
            print(f"{recording.name}: {len(recording.exchanges)} exchanges")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
