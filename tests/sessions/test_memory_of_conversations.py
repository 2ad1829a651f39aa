"""What a conversation remembers of hostile events is bounded, and none of them is made objects of without end."""

import json
import tracemalloc

import pytest

from budget_middleware.apis.google.live.session import GeminiLiveSession
from budget_middleware.apis.openai.realtime.session import OpenAIRealtimeSession

MEGABYTE = 1_000_000
MANY: list[object] = [[]] * 300_000
"""A megabyte of values, which take twenty as objects."""


def realtime():
    return OpenAIRealtimeSession().open({"query_string": b"model=plain"}, path="/v1/realtime")


def live():
    return GeminiLiveSession().open({}, path="")


def as_event(**event):
    return json.dumps(event, separators=(",", ":")).encode()


def taken_by(read, events):
    """How many bytes are kept of the events, and how many were taken at most."""
    tracemalloc.start()
    try:
        for event in events:
            read(event)
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_long_updates_that_the_server_has_not_answered_are_not_all_kept():
    conversation = realtime()
    updates = [
        as_event(type="session.update", event_id=str(n), session={"instructions": f"{n}" + "x" * MEGABYTE})
        for n in range(20)
    ]
    kept, _ = taken_by(conversation.read_client, updates)
    assert kept < 4 * MEGABYTE


def test_of_responses_that_have_ended_the_latest_are_known():
    conversation = realtime()
    ends = [as_event(type="response.done", response={"id": f"{n:x>1000}"}) for n in range(6_000)]
    kept, _ = taken_by(conversation.read_server_event, ends)
    assert kept < 8 * MEGABYTE
    assert all(conversation.read_server_event(end) is None for end in ends[-4_000:])


@pytest.mark.parametrize(
    ("opened", "event"),
    [
        (realtime, as_event(type="session.update", session={"tools": MANY})),
        (live, as_event(setup={"model": "models/plain", "tools": MANY})),
        (live, as_event(clientContent={"turns": MANY})),
    ],
)
def test_an_event_of_very_many_values_is_not_made_objects_of(opened, event):
    _, peak = taken_by(opened().read_client, [event])
    assert peak < 8 * MEGABYTE


@pytest.mark.parametrize("kind", ["session.updated", "session.created"])
def test_nor_is_what_the_server_repeats_of_it(kind):
    event = as_event(type=kind, session={"tools": MANY})
    _, peak = taken_by(realtime().read_server_event, [event])
    assert peak < 8 * MEGABYTE


def test_an_update_that_is_not_read_may_have_asked_for_anything():
    conversation = realtime()
    quiet = {"type": "realtime", "max_output_tokens": 5, "audio": {"input": {"turn_detection": None}}}
    conversation.read_server_event(as_event(type="session.updated", session=quiet))
    sound = as_event(type="input_audio_buffer.append", audio="AAAA")
    assert conversation.read_client(sound) == ()
    conversation.read_client(as_event(type="session.update", session={"tools": MANY}))
    *_, talk, heard = conversation.read_client(sound)
    assert (talk.lane, heard.lane) == ("talk", "heard")
    assert talk.body is not None
    assert talk.body["max_output_tokens"] is None


def test_the_model_of_a_setup_that_is_not_read_counts():
    conversation = live()
    conversation.read_client(as_event(setup={"model": "models/dear", "tools": MANY}))
    (asked,) = conversation.read_client(as_event(clientContent={"turnComplete": True}))
    assert asked.body is not None
    assert asked.body["model"] == "dear"
