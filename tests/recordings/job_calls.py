"""What real clients do with jobs: they create one, and ask for it until it is over."""

import asyncio
import importlib
import io
import json
from typing import Any

import anthropic
import openai
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google import genai
from google.genai import types

from tests.recordings.recording_files import KEY
from tests.sdk.provider import MODEL

MESSAGES: Any = [{"role": "user", "content": "x"}]


async def batch_of_openai(client: openai.AsyncOpenAI) -> None:
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 600}
    line = {"custom_id": "c1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    content = json.dumps(line).encode()
    whole = await client.files.create(file=("calls.jsonl", content), purpose="batch")
    in_parts = await client.uploads.upload_file_chunked(
        file=content,
        filename="calls.jsonl",
        bytes=len(content),
        mime_type="application/jsonl",
        purpose="batch",
        part_size=1_000,
    )
    assert in_parts.file is not None
    for file in (whole, in_parts.file):
        created = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        done = await client.batches.retrieve(created.id)
        await client.files.content(str(done.output_file_id))


async def batch_of_anthropic(url: str) -> None:
    params = MessageCreateParamsNonStreaming(model=MODEL, max_tokens=600, messages=MESSAGES)
    async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        created = await client.messages.batches.create(requests=[{"custom_id": "c1", "params": params}])
        await client.messages.batches.retrieve(created.id)
        async for _ in await client.messages.batches.results(created.id):
            pass


async def batch_of_google(url: str) -> None:
    call = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 600}}
    line = json.dumps({"key": "k1", "request": call}).encode()
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url)).aio
    file = await client.files.upload(file=io.BytesIO(line), config=types.UploadFileConfig(mime_type="jsonl"))
    created = await client.batches.create(model=MODEL, src=str(file.name))
    done = await client.batches.get(name=str(created.name))
    assert done.dest is not None
    await client.files.download(file=str(done.dest.file_name))
    await client.aclose()


async def container_of_openai(client: openai.AsyncOpenAI) -> None:
    await client.containers.create(name="code", memory_limit="4g")


async def video_of_openai(client: openai.AsyncOpenAI) -> None:
    # Unlike the client's own methods these are not announced to end: gateways go on to speak it for others' videos.
    body = {"model": "film", "prompt": "x", "seconds": "8", "size": "1280x720"}
    created = await client.post("/videos", body=body, cast_to=dict[str, Any])
    await client.get(f"/videos/{created['id']}", cast_to=dict[str, Any])


async def video_of_google(url: str) -> None:
    client = genai.Client(vertexai=True, api_key=KEY, http_options=types.HttpOptions(base_url=url)).aio
    config, source = types.GenerateVideosConfig(duration_seconds=4), types.GenerateVideosSource(prompt="x")
    operation = await client.models.generate_videos(model="film", source=source, config=config)
    assert (await client.operations.get(operation)).done
    await client.aclose()


async def pictures_of_google(url: str) -> None:
    client = genai.Client(vertexai=True, api_key=KEY, http_options=types.HttpOptions(base_url=url)).aio
    config = types.GenerateImagesConfig(number_of_images=3, include_rai_reason=True)
    await client.models.generate_images(model="painter", prompt="x", config=config)
    await client.aclose()


async def batch_of_vertex(url: str) -> None:
    client = genai.Client(vertexai=True, api_key=KEY, http_options=types.HttpOptions(base_url=url)).aio
    config = types.CreateBatchJobConfig(dest="gs://bucket/out", display_name="x")
    created = await client.batches.create(model="answerer", src="gs://bucket/in.jsonl", config=config)
    await client.batches.get(name=str(created.name).rpartition("/")[2])
    await client.aclose()


async def training_of_vertex(url: str) -> None:
    client = genai.Client(vertexai=True, api_key=KEY, http_options=types.HttpOptions(base_url=url)).aio
    data, config = types.TuningDataset(gcs_uri="gs://bucket/in.jsonl"), types.CreateTuningJobConfig(epoch_count=2)
    created = await client.tunings.tune(base_model="pupil", training_dataset=data, config=config)
    await client.tunings.get(name=str(created.name))
    await client.aclose()


def _client_of_amazon(url: str, service: str) -> Any:
    # It has 17 MB and is none of the development dependencies: install it for a new recording.
    boto3 = importlib.import_module("boto3")
    secret = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": KEY}
    return boto3.client(service, endpoint_url=url, region_name="us-east-1", **secret)


async def batch_of_amazon(url: str) -> None:
    def run() -> None:
        client = _client_of_amazon(url, "bedrock")
        arn = client.create_model_invocation_job(
            jobName="nightly",
            roleArn="arn:aws:iam::123456789012:role/batch",
            modelId="answerer",
            inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://bucket/in.jsonl"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
        )["jobArn"]
        assert client.get_model_invocation_job(jobIdentifier=arn)["status"] == "Completed"

    await asyncio.to_thread(run)


async def video_of_amazon(url: str) -> None:
    def run() -> None:
        client = _client_of_amazon(url, "bedrock-runtime")
        arn = client.start_async_invoke(
            modelId="film",
            modelInput={"taskType": "TEXT_VIDEO", "videoGenerationConfig": {"durationSeconds": 6}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
        )["invocationArn"]
        assert client.get_async_invoke(invocationArn=arn)["status"] == "Completed"

    await asyncio.to_thread(run)


async def training_of_openai(client: openai.AsyncOpenAI) -> None:
    file = await client.files.create(file=("t.jsonl", b"x" * 80), purpose="fine-tune")
    job = await client.fine_tuning.jobs.create(model="pupil", training_file=file.id)
    await client.fine_tuning.jobs.retrieve(job.id)


async def evaluation_of_openai(client: openai.AsyncOpenAI) -> None:
    source: Any = {"type": "completions", "model": MODEL, "source": {"type": "file_id", "id": "file-1"}}
    run = await client.evals.runs.create("eval_1", data_source=source)
    await client.evals.runs.retrieve(run.id, eval_id="eval_1")
