"""A voice agent of OpenAI's agents SDK, in an environment of its own: `python agents_client.py URL KEY INSTRUCTIONS`.

It asks once, and prints what its session says, a line for each event: its type, and of an error the code.
"""

import asyncio
import sys

from agents.realtime import RealtimeAgent, RealtimeRunner
from websockets.exceptions import InvalidStatus


async def talk(url, key, instructions):
    runner = RealtimeRunner(
        starting_agent=RealtimeAgent(name="host", instructions=instructions),
        config={"model_settings": {"model_name": "plain", "modalities": ["text"]}},
    )
    try:
        session = await runner.run(model_config={"url": url, "api_key": key})
        async with session:
            await session.send_message("Go on.")
            async for event in session:
                error = getattr(event, "error", None)
                print(event.type, getattr(error, "code", "") if error is not None else "", flush=True)
                if event.type in ("agent_end", "error"):
                    return
    except InvalidStatus as refused:
        print("refused", refused.response.status_code, flush=True)


asyncio.run(asyncio.wait_for(talk(*sys.argv[1:]), 60))
