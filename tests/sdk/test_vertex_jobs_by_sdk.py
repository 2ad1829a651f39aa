"""Google's own client creates batches and tuning jobs at Vertex AI through the guard, at a real server."""

import pytest
from google import genai
from google.genai import types

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore:The SDK's tuning implementation is experimental"),
]


async def test_a_batch_is_held_by_the_operators_rule_and_booked_by_its_calls(gateway_url, left_of):
    options = types.HttpOptions(base_url=gateway_url)
    client = genai.Client(vertexai=True, api_key="sk-vertex-batch", http_options=options).aio
    config = types.CreateBatchJobConfig(dest="gs://bucket/out", display_name="x")
    created = await client.batches.create(model="answerer", src="gs://bucket/in.jsonl", config=config)
    assert left_of("sk-vertex-batch") == "0.50"
    for _ in range(2):
        done = await client.batches.get(name=str(created.name).rpartition("/")[2])
        assert done.state == types.JobState.JOB_STATE_SUCCEEDED
        assert left_of("sk-vertex-batch") == "0.70"
    await client.aclose()


async def test_tuning_is_booked_by_its_tokens_and_epochs(gateway_url, left_of):
    options = types.HttpOptions(base_url=gateway_url)
    client = genai.Client(vertexai=True, api_key="sk-vertex-tuning", http_options=options).aio
    data, config = types.TuningDataset(gcs_uri="gs://bucket/in.jsonl"), types.CreateTuningJobConfig(epoch_count=2)
    created = await client.tunings.tune(base_model="pupil", training_dataset=data, config=config)
    assert left_of("sk-vertex-tuning") == "0.60"
    for _ in range(2):
        done = await client.tunings.get(name=str(created.name))
        assert done.state == types.JobState.JOB_STATE_SUCCEEDED
        assert left_of("sk-vertex-tuning") == "0.97"
    await client.aclose()
