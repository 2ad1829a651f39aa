"""OpenAI's and Google's own clients make videos and train models through the guard, at a real server."""

import openai
import pytest
from google import genai
from google.genai import types

pytestmark = [
    pytest.mark.processes,
    # Gateways go on to speak it for the videos of others.
    pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning"),
]


async def test_a_video_is_held_by_its_seconds_and_booked_when_it_is_made(gateway_url, left_of):
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="sk-video", max_retries=4) as client:
        made = await client.videos.create(model="film", prompt="x", seconds="8", size="1280x720")  # type: ignore[arg-type]
        assert left_of("sk-video") == "0.92"
        assert (await client.videos.retrieve(made.id)).status == "completed"
        assert left_of("sk-video") == "0.92"
        remixed = await client.videos.remix(made.id, prompt="y")
        assert left_of("sk-video") == "0.84"
        assert await (await client.videos.download_content(remixed.id)).aread() == b"film"
        assert left_of("sk-video") == "0.84"
        failed = await client.videos.create(model="film", prompt="x", seconds="12", size="1280x720")  # type: ignore[arg-type]
        assert left_of("sk-video") == "0.72"
        for _ in range(2):
            assert (await client.videos.retrieve(failed.id)).status == "failed"
            assert left_of("sk-video") == "0.84"


async def test_a_video_beyond_the_budget_is_refused(gateway_url, left_of):
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="sk-dear-video", max_retries=4) as client:
        with pytest.raises(openai.RateLimitError):
            await client.videos.create(model="dear-film", prompt="x", seconds="8")  # type: ignore[arg-type]
    assert left_of("sk-dear-video") == "1.00"


async def test_a_container_costs_by_its_memory(gateway_url, left_of):
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="sk-container", max_retries=0) as client:
        await client.containers.create(name="code")
        assert left_of("sk-container") == "0.97"
        await client.containers.create(name="code", memory_limit="4g")
        assert left_of("sk-container") == "0.85"
        with pytest.raises(openai.RateLimitError):
            await client.containers.create(name="code", memory_limit="64g")
    assert left_of("sk-container") == "0.85"


async def test_training_is_held_by_its_file_and_booked_by_what_was_trained(gateway_url, left_of):
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="sk-training", max_retries=4) as client:
        file = await client.files.create(file=("t.jsonl", b"x" * 80), purpose="fine-tune")
        method: openai.types.fine_tuning.job_create_params.Method = {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2}},
        }
        job = await client.fine_tuning.jobs.create(model="pupil", training_file=file.id, method=method)
        assert left_of("sk-training") == "0.96"
        for _ in range(2):
            assert (await client.fine_tuning.jobs.retrieve(job.id)).trained_tokens == 30
            assert left_of("sk-training") == "0.97"


@pytest.mark.parametrize(("seconds", "left"), [(4, "0.96"), (6, "1.00")], ids=["made", "blocked"])
async def test_a_video_of_google_is_held_and_booked(gateway_url, left_of, seconds, left):
    key = f"sk-veo-{seconds}"
    # The Gemini API's own videos are no longer among what this client asks for.
    client = genai.Client(vertexai=True, api_key=key, http_options=types.HttpOptions(base_url=gateway_url))
    config = types.GenerateVideosConfig(duration_seconds=seconds)
    source = types.GenerateVideosSource(prompt="x")
    operation = await client.aio.models.generate_videos(model="film", source=source, config=config)
    assert left_of(key) == str(1 - seconds / 100)
    for _ in range(2):
        assert (await client.aio.operations.get(operation)).done
        assert left_of(key) == left
