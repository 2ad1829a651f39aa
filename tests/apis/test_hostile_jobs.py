"""Bad input about jobs and webhooks: nothing but a bad request is raised, whatever the JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.jobs.batches import read_google_line
from budget_middleware.apis.jobs.created import JobPlan
from budget_middleware.apis.jobs.looks import JOB_APIS, job_api_at, job_look_at
from budget_middleware.apis.jobs.webhooks import read_event
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.usage import Usage
from budget_middleware.request.quotes.file_plans import unpack_plan
from budget_middleware.request.quotes.jobs import planned_modes, planned_usage
from tests.apis.test_hostile import SCALARS, fuzz

WORDS = """
id name object model prompt seconds duration n n_variants n_seconds size width height resolution video status completed
failed queued done usage cost cost_in_usd_ticks outputs request_id instances parameters durationSeconds sampleCount
error response generateVideoResponse generatedSamples videos raiMediaFilteredCount training_file hyperparameters method
type supervised reinforcement n_epochs auto trained_tokens created_at finished_at succeeded cancelled per_model_usage
model_name prompt_tokens completion_tokens total_tokens data_source data video.failed batch.failed request contents
video_ms training_tokens modes pieces baseModel base_model supervisedTuningSpec hyperParameters epochCount state
JOB_STATE_SUCCEEDED completionStats successfulCount tuningDataStats supervisedTuningDataStats totalBillableTokenCount
modelId jobArn invocationArn Completed successRecordCount modelInput videoGenerationConfig durationSeconds 9s shots
"""
VALUES = SCALARS | st.sampled_from(WORDS.split())
ANY_JSON = st.recursive(
    VALUES,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), children, max_size=6)
    ),
    max_leaves=20,
)
PATHS = ("/v1/videos", "/v1/videos/x/remix", "/v1/videos/extensions", "/", "")


@pytest.mark.parametrize("api", JOB_APIS, ids=lambda api: api.name)
@fuzz
@given(document=ANY_JSON, path=st.sampled_from(PATHS))
def test_any_json_is_read(api, document, path):
    try:
        ask = api.read_request(document, path=path, n_bytes=100)
        plan = api.plan(document if isinstance(document, dict) else {}, path=path)
    except BadRequestError:
        ask, plan = None, JobPlan(Usage())
    if ask is not None:
        assert plan.used.video_ms >= 0
        assert plan.pieces >= 1
        assert all(len(mode) < 15 for mode in plan.modes)
        json.dumps([plan.used.video_ms, plan.modes, plan.pieces])
    api.read_json(document, Seen())
    state = api.state(document)
    assert state is None or all(used.video_ms >= 0 and used.training_tokens >= 0 for _, used in state.used)


@fuzz
@given(document=ANY_JSON)
def test_any_event_line_or_kept_text_is_read(document):
    text = json.dumps(document)
    read_event(text.encode())
    read_google_line(text.encode())
    unpack_plan(text)
    if isinstance(document, dict):
        assert planned_usage(document).video_ms >= 0
        planned_modes(document)


@fuzz
@given(path=st.text(alphabet="/:abcvideosremixcontentoperationsjobsfine_tuningevalsrunscancel\n%", max_size=50))
def test_any_path_is_looked_at(path):
    for method in ("GET", "POST"):
        look = job_look_at(method, path)
        assert look is None or look.api in JOB_APIS
    job_api_at(path)
