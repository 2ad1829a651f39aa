"""Bad input about batches: nothing is raised, whatever the JSON."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.jobs.batch_states import look_at, read_batch, read_result
from budget_middleware.apis.jobs.batches import BATCH_APIS, planned_in
from budget_middleware.apis.protocol.seen import Seen
from tests.apis.test_hostile import SCALARS, fuzz

WORDS = """
id name object batch status completed in_progress processing_status ended request_counts succeeded completed usage model
input_tokens output_tokens total_tokens output_file_id input_file_id requests request params custom_id result type
succeeded errored message response body status_code error inputConfig inlinedResponses metadata state output
BATCH_STATE_SUCCEEDED usageMetadata promptTokenCount candidatesTokenCount modelVersion url method messages max_tokens
chat.completion list
"""
VALUES = SCALARS | st.sampled_from(WORDS.split())
ANY_JSON = st.recursive(
    VALUES,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), children, max_size=6)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("api", BATCH_APIS, ids=lambda api: api.name)
@fuzz
@given(document=ANY_JSON)
def test_any_json_is_read(api, document):
    api.read_request(document, path="/v1/batches", n_bytes=100)
    api.read_json(document, Seen())
    api.input_file(document)
    for call in api.planned_calls(document, model="m", n_bytes=100):
        if call.api is not None:
            with contextlib.suppress(BadRequestError):
                call.api.read_request(call.body, path=call.path, n_bytes=call.n_bytes)
    state = read_batch(api.name, document)
    assert state is None or state.id
    line = json.dumps(document).encode()
    read_result(api.name, line)
    planned_in(line)


@fuzz
@given(path=st.text(alphabet="/:abcfilesbatchesmessagesresultscontentcancel\n%", max_size=40))
def test_any_path_is_looked_at(path):
    for method in ("GET", "POST"):
        look = look_at(method, path)
        assert look is None or look.id
