"""OpenAI's, Anthropic's and Google's own clients run a batch through the guard, at a real server."""

import io
import json

import anthropic
import openai
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google import genai
from google.genai import types

from tests.sdk.provider import MODEL

pytestmark = pytest.mark.processes


def lines(*maxima):
    return "\n".join(
        json.dumps(
            {
                "custom_id": f"c{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": most},
            }
        )
        for n, most in enumerate(maxima)
    ).encode()


async def test_a_batch_of_openai_is_held_by_its_file_and_booked_by_its_output(gateway_url, left_of):
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="sk-batch", max_retries=4) as client:
        uploaded = await client.files.create(file=("calls.jsonl", lines(600, 400)), purpose="batch")
        created = await client.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert left_of("sk-batch") == "0.9995"
        done = await client.batches.retrieve(created.id)
        assert (done.status, left_of("sk-batch")) == ("completed", "0.9995")
        for _ in range(3):
            output = await client.files.content(str(done.output_file_id))
            assert len(output.text.splitlines()) == 2
            assert left_of("sk-batch") == "0.9999"


async def test_a_batch_of_a_file_in_parts_is_held_by_its_calls(gateway_url, left_of):
    content = lines(600, 400)
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="sk-parts", max_retries=4) as client:
        uploaded = await client.uploads.upload_file_chunked(
            file=content,
            filename="calls.jsonl",
            bytes=len(content),
            mime_type="application/jsonl",
            purpose="batch",
            part_size=content.index(b"\n") + 1,
        )
        assert uploaded.file is not None
        created = await client.batches.create(
            input_file_id=uploaded.file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert left_of("sk-parts") == "0.9995"
        done = await client.batches.retrieve(created.id)
        await client.files.content(str(done.output_file_id))
        assert left_of("sk-parts") == "0.9999"


async def test_a_batch_of_openai_beyond_the_budget_is_refused(gateway_url, left_of):
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="sk-dear-batch", max_retries=4) as client:
        uploaded = await client.files.create(file=("calls.jsonl", lines(1_500_000, 1_500_000)), purpose="batch")
        with pytest.raises(openai.RateLimitError):
            await client.batches.create(
                input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
    assert left_of("sk-dear-batch") == "1.00"


async def test_a_batch_of_anthropic_is_held_by_its_requests_and_booked_by_its_results(gateway_url, left_of):
    params = MessageCreateParamsNonStreaming(model=MODEL, max_tokens=600, messages=[{"role": "user", "content": "x"}])
    async with anthropic.AsyncAnthropic(base_url=gateway_url, api_key="sk-ant-batch", max_retries=4) as client:
        created = await client.messages.batches.create(requests=[{"custom_id": "c0", "params": params}])
        assert left_of("sk-ant-batch") == "0.9997"
        for _ in range(2):
            assert (await client.messages.batches.retrieve(created.id)).processing_status == "ended"
            results = [each async for each in await client.messages.batches.results(created.id)]
            (succeeded,) = [each.result for each in results if each.result.type == "succeeded"]
            assert succeeded.message.usage.output_tokens == 100
            assert left_of("sk-ant-batch") == "0.99995"


async def test_a_batch_of_gemini_is_held_by_its_requests_and_booked_by_its_answers(gateway_url, left_of):
    options = types.HttpOptions(base_url=gateway_url)
    client = genai.Client(api_key="sk-gemini-batch", http_options=options)
    request = types.InlinedRequest(
        contents=[types.Content(role="user", parts=[types.Part(text="x")])],
        config=types.GenerateContentConfig(max_output_tokens=600),
    )
    created = await client.aio.batches.create(model=MODEL, src=[request])
    assert left_of("sk-gemini-batch") == "0.9997"
    for _ in range(2):
        done = await client.aio.batches.get(name=str(created.name))
        assert done.state is types.JobState.JOB_STATE_SUCCEEDED
        assert left_of("sk-gemini-batch") == "0.99995"


async def test_a_batch_of_gemini_by_a_file_is_held_by_its_lines_and_booked_by_its_answers(gateway_url, left_of):
    call = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 600}}
    calls = "\n".join(json.dumps({"key": f"k{n}", "request": call}) for n in range(2)).encode()
    client = genai.Client(api_key="sk-gemini-file", http_options=types.HttpOptions(base_url=gateway_url))
    config = types.UploadFileConfig(mime_type="jsonl", display_name="calls")
    file = await client.aio.files.upload(file=io.BytesIO(calls), config=config)
    created = await client.aio.batches.create(model=MODEL, src=str(file.name))
    assert left_of("sk-gemini-file") == "0.9994"
    for left in ("0.9994", "0.9999"):
        done = await client.aio.batches.get(name=str(created.name))
        assert left_of("sk-gemini-file") == left
        assert done.dest is not None
        answers = await client.aio.files.download(file=str(done.dest.file_name))
        assert len(answers.splitlines()) == 2
        assert left_of("sk-gemini-file") == "0.9999"
