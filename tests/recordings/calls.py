"""The calls that are recorded: what a real client does, and what has to be booked for it.

To add yours, append a `Call` to CALLS (``app`` is the fake provider, ``module:name``) and run
`python -m tests.recordings API.WIRE`. Each answer of the first provider has 10 tokens of input and 100 of output,
which are 0.00001 and 0.0002 USD.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import anthropic
import httpx
import openai
from google import genai
from google.genai import types

from tests.recordings import job_calls
from tests.recordings.recording_files import KEY
from tests.sdk.provider import MODEL
from tests.sessions.live import live_without_tls

JOBS = "tests.sdk.provider:gateway"
MESSAGES: Any = [{"role": "user", "content": "x"}]
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (1024).to_bytes(4) * 2
# A tenth of a second.
SOUND = base64.b64encode(bytes(4_800)).decode()
TOKENS = {"input": 10, "output": 100}
THOUGHT = {"input": 10, "output": 60, "reasoning": 40}


class Call(NamedTuple):
    """What is recorded as one file. ``run`` gets the provider's address, and stays until its answer is read."""

    api: str
    wire: str
    client: str
    run: Callable[[str], Awaitable[object]]
    cost_usd: str = "0.00021"
    usage: Mapping[str, int] = TOKENS
    app: str = "tests.recordings.recorded_provider:app"


def _of_openai(act: Callable[[openai.AsyncOpenAI], Awaitable[object]]) -> Callable[[str], Awaitable[object]]:
    async def run(url: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            stream = await act(client)
            if isinstance(stream, openai.AsyncStream):
                async for _ in stream:
                    pass

    return run


def _of_anthropic(*, stream: bool) -> Callable[[str], Awaitable[object]]:
    async def run(url: str) -> None:
        async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
            if not stream:
                await client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=600)
                return
            async with client.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=600) as streamed:
                await streamed.get_final_message()

    return run


def _of_google(*, stream: bool) -> Callable[[str], Awaitable[object]]:
    async def run(url: str) -> None:
        client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url)).aio
        config = types.GenerateContentConfig(max_output_tokens=600)
        if stream:
            async for _ in await client.models.generate_content_stream(model=MODEL, contents="x", config=config):
                pass
        else:
            await client.models.generate_content(model=MODEL, contents="x", config=config)
        await client.aclose()

    return run


def _interaction_of_google(**fields: Any) -> Callable[[str], Awaitable[object]]:
    async def run(url: str) -> None:
        client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url)).aio
        config = {"max_output_tokens": 600}
        created: Any = await client.interactions.create(
            **{"model": MODEL, "input": "x", "generation_config": config, **fields}
        )
        if fields.get("stream"):
            async for _ in created:
                pass
        elif fields.get("background"):
            assert (await client.interactions.get(created.id)).status == "completed"
        await client.aclose()

    return run


async def _decision_of_google(url: str) -> None:
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url)).aio
    questions: Any = {"good": {"type": "noul", "instructions": "Is it good?"}}
    await client.decisions.create(model=f"models/{MODEL}", input="x", questions=questions)
    await client.aclose()


async def _live_of_google(url: str) -> None:
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, api_version="v1beta")).aio
    config = types.LiveConnectConfig(response_modalities=[types.Modality.TEXT], max_output_tokens=600)
    with live_without_tls():
        async with client.live.connect(model="plain", config=config) as session:
            for words in ("one", "one two three"):
                turn = types.Content(role="user", parts=[types.Part(text=words)])
                await session.send_client_content(turns=turn)
                async for _ in session.receive():
                    pass


def _by_httpx(path: str, **fields: object) -> Callable[[str], Awaitable[object]]:
    async def run(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
            (await client.post(path, json=fields)).raise_for_status()

    return run


async def _session_of_openai(client: openai.AsyncOpenAI) -> None:
    async with client.responses.connect() as connection:
        for words in ("one", "one two three"):
            await connection.response.create(model="plain", input=words, max_output_tokens=600)
            async for event in connection:
                if event.type == "response.completed":
                    break


async def _talk_with_openai(client: openai.AsyncOpenAI) -> None:
    async with client.realtime.connect(model="plain") as connection:
        await connection.response.create(response={"instructions": "one two", "max_output_tokens": 600})
        for _ in range(3):
            await connection.input_audio_buffer.append(audio="AAAA")
        n_done = 0
        async for event in connection:
            n_done += event.type == "response.done"
            if n_done == 2:
                break


async def _translate_with_openai(client: openai.AsyncOpenAI) -> None:
    async with client.realtime.translations.connect(model="interpreter") as connection:
        for _ in range(2):
            await connection.session.input_audio_buffer.append(audio=SOUND)
            await connection.recv()
        await connection.recv()
        await connection.session.close()
        await connection.recv()


async def _live_with_openai(client: openai.AsyncOpenAI) -> None:
    async with client.live.connect() as connection:
        await connection.session.start(session={"model": "host"})
        await connection.recv()
        await connection.session.input_audio.append(audio=SOUND)
        await connection.recv()
        await connection.session.close()
        await connection.recv()


async def _speak_in_events(client: openai.AsyncOpenAI) -> None:
    speaking = client.audio.speech.with_streaming_response.create(
        model=MODEL, input="x" * 50, voice="alloy", stream_format="sse"
    )
    async with speaking as answer:
        async for _ in answer.iter_lines():
            pass


async def _tools(url: str) -> None:
    """What a client of MCP says: who it is, what there is, and two calls."""
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
        accept = {"accept": "application/json, text/event-stream"}
        methods = ("initialize", "tools/list", "tools/call", "tools/call")
        for id_, (method, name) in enumerate(zip(methods, ("", "", "search", "echo"), strict=True)):
            params = {"name": name, "arguments": {"q": "x"}} if name else {}
            message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
            (await client.post("/mcp", json=message, headers=accept)).raise_for_status()


A2A_MESSAGE = {"message": {"role": "user", "messageId": "m", "parts": [{"kind": "text", "text": "x"}]}}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "x"}]}], "inferenceConfig": {"maxTokens": 600}}
CALLS = (
    Call(
        "openai-chat",
        "document",
        "openai",
        _of_openai(lambda client: client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=600)),
    ),
    Call(
        "openai-chat",
        "stream",
        "openai",
        _of_openai(
            lambda client: client.chat.completions.create(
                model=MODEL,
                messages=MESSAGES,
                max_tokens=600,
                stream=True,
                stream_options={"include_usage": True},
            )
        ),
    ),
    Call(
        "openai-completions",
        "document",
        "openai",
        _of_openai(lambda client: client.completions.create(model=MODEL, prompt="x", max_tokens=600)),
    ),
    Call(
        "openai-completions",
        "stream",
        "openai",
        _of_openai(
            lambda client: client.completions.create(
                model=MODEL, prompt="x", max_tokens=600, stream=True, stream_options={"include_usage": True}
            )
        ),
    ),
    Call(
        "openai-responses",
        "document",
        "openai",
        _of_openai(lambda client: client.responses.create(model=MODEL, input="x", max_output_tokens=600)),
    ),
    Call(
        "openai-responses",
        "stream",
        "openai",
        _of_openai(lambda client: client.responses.create(model=MODEL, input="x", stream=True)),
    ),
    Call(
        "openai-responses",
        "session",
        "openai",
        _of_openai(_session_of_openai),
        cost_usd="0.000008",
        # Of an input of 0 tokens nothing is believed: it is counted as it was expected.
        usage={"input": 12, "output": 4},
    ),
    Call(
        "openai-realtime",
        "session",
        "openai",
        _of_openai(_talk_with_openai),
        cost_usd="0.000008",
        # As expected too: of speech there may be ten seconds in each response.
        usage={"input": 2, "input_audio": 200, "output": 4},
    ),
    Call(
        "openai-translations",
        "session",
        "openai",
        _of_openai(_translate_with_openai),
        cost_usd="0.002",
        usage={"audio_hour": 200},
        app="tests.sessions.timed_gateway:bare",
    ),
    Call(
        "openai-live",
        "session",
        "openai",
        _of_openai(_live_with_openai),
        cost_usd="0.03",
        usage={"audio_hour": 3_000},
        app="tests.sessions.timed_gateway:bare",
    ),
    Call(
        "openai-embeddings",
        "document",
        "openai",
        _of_openai(lambda client: client.embeddings.create(model=MODEL, input="x")),
    ),
    Call(
        "openai-images",
        "document",
        "openai",
        _of_openai(lambda client: client.images.edit(model=MODEL, image=("a.png", PNG), prompt="x", quality="low")),
        usage={"input": 10, "output_image": 100},
    ),
    Call(
        "openai-speech",
        "document",
        "openai",
        _of_openai(lambda client: client.audio.speech.create(model=MODEL, input="x" * 50, voice="alloy")),
        cost_usd="0.000213",
        usage={},
    ),
    Call(
        "openai-transcriptions",
        "document",
        "openai",
        _of_openai(lambda client: client.audio.transcriptions.create(model=MODEL, file=("a.wav", bytes(8_000)))),
    ),
    Call(
        "openai-images",
        "stream",
        "openai",
        _of_openai(
            lambda client: client.images.generate(model=MODEL, prompt="x", quality="low", stream=True, partial_images=1)
        ),
        usage={"input": 10, "output_image": 100},
    ),
    Call("openai-speech", "stream", "openai", _of_openai(_speak_in_events), usage={"input": 10, "output_audio": 100}),
    Call(
        "openai-transcriptions",
        "stream",
        "openai",
        _of_openai(
            lambda client: client.audio.transcriptions.create(model=MODEL, file=("a.wav", bytes(8_000)), stream=True)
        ),
    ),
    Call("anthropic-messages", "document", "anthropic", _of_anthropic(stream=False)),
    Call("anthropic-messages", "stream", "anthropic", _of_anthropic(stream=True)),
    Call("gemini", "document", "google-genai", _of_google(stream=False)),
    Call("gemini", "stream", "google-genai", _of_google(stream=True)),
    Call("gemini-decisions", "document", "google-genai", _decision_of_google),
    Call("gemini-interactions", "document", "google-genai", _interaction_of_google(), usage=THOUGHT),
    Call("gemini-interactions", "stream", "google-genai", _interaction_of_google(stream=True), usage=THOUGHT),
    Call("gemini-interactions", "job", "google-genai", _interaction_of_google(background=True), usage=THOUGHT),
    Call(
        "gemini-live",
        "session",
        "google-genai",
        _live_of_google,
        cost_usd="0.000008",
        # The first prompt is reported as 0, which is not believed.
        usage={"input": 6, "output": 4},
        app="tests.sessions.live_gateway:bare",
    ),
    Call(
        "google-predict",
        "document",
        "google-genai",
        job_calls.pictures_of_google,
        cost_usd="0.08",
        usage={"image": 2},
        app=JOBS,
    ),
    Call(
        "rerank",
        "document",
        "httpx",
        _by_httpx("/v1/rerank", model=MODEL, query="x", documents=["a", "b"]),
        cost_usd="0.001",
        usage={"rerank_search": 1},
    ),
    Call("ollama", "document", "httpx", _by_httpx("/api/chat", model=MODEL, messages=MESSAGES, stream=False)),
    Call("ollama", "stream", "httpx", _by_httpx("/api/chat", model=MODEL, messages=MESSAGES)),
    Call("bedrock", "document", "httpx", _by_httpx(f"/model/{MODEL}/converse", **CONVERSE)),
    Call(
        "mcp",
        "document",
        "httpx",
        _by_httpx("/mcp", jsonrpc="2.0", id=1, method="tools/call", params={"name": "look", "arguments": {}}),
        cost_usd="0.001",
        usage={"call": 1},
    ),
    Call("mcp", "stream", "httpx", _tools, cost_usd="0.006", usage={"call": 2}),
    Call(
        "a2a",
        "document",
        "httpx",
        _by_httpx("/a2a/planner", jsonrpc="2.0", id=1, method="message/send", params=A2A_MESSAGE),
        cost_usd="0.05",
        usage={"call": 1},
    ),
    Call(
        "a2a",
        "stream",
        "httpx",
        _by_httpx("/a2a/planner", jsonrpc="2.0", id=1, method="message/stream", params=A2A_MESSAGE),
        cost_usd="0.05",
        usage={"call": 1},
    ),
    Call("bedrock", "stream", "httpx", _by_httpx(f"/model/{MODEL}/converse-stream", **CONVERSE)),
    Call(
        "openai-batches",
        "job",
        "openai",
        _of_openai(job_calls.batch_of_openai),
        cost_usd="0.00021",
        usage={"input": 20, "output": 200},
        app=JOBS,
    ),
    Call("anthropic-batches", "job", "anthropic", job_calls.batch_of_anthropic, cost_usd="0.000105", app=JOBS),
    Call("gemini-batches", "job", "google-genai", job_calls.batch_of_google, cost_usd="0.000105", app=JOBS),
    Call(
        "openai-containers",
        "document",
        "openai",
        _of_openai(job_calls.container_of_openai),
        cost_usd="0.12",
        usage={"code_container": 1},
        app=JOBS,
    ),
    Call(
        "openai-videos",
        "job",
        "openai",
        _of_openai(job_calls.video_of_openai),
        cost_usd="0.08",
        usage={"video_second": 8_000},
        app=JOBS,
    ),
    Call(
        "gemini-videos",
        "job",
        "google-genai",
        job_calls.video_of_google,
        cost_usd="0.04",
        usage={"video_second": 4_000},
        app=JOBS,
    ),
    Call(
        "openai-fine-tuning",
        "job",
        "openai",
        _of_openai(job_calls.training_of_openai),
        cost_usd="0.03",
        usage={"training": 30},
        app=JOBS,
    ),
    Call(
        "vertex-batches",
        "job",
        "google-genai",
        job_calls.batch_of_vertex,
        cost_usd="0.30",
        usage={"call": 30},
        app=JOBS,
    ),
    Call(
        "vertex-tuning",
        "job",
        "google-genai",
        job_calls.training_of_vertex,
        cost_usd="0.03",
        usage={"training": 30},
        app=JOBS,
    ),
    Call(
        "bedrock-batches",
        "job",
        "boto3",
        job_calls.batch_of_amazon,
        cost_usd="0.30",
        usage={"call": 30},
        app=JOBS,
    ),
    Call(
        "bedrock-invocations",
        "job",
        "boto3",
        job_calls.video_of_amazon,
        cost_usd="0.06",
        usage={"video_second": 6_000},
        app=JOBS,
    ),
    Call("openai-evals", "job", "openai", _of_openai(job_calls.evaluation_of_openai), app=JOBS),
)
