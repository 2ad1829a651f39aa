"""Plays one exchange and returns the amount booked, for tests that know its cost."""

from budget_middleware.testing import ScriptedApp, call, chunk, event, start
from tests.apis.cuts import as_array, as_frames
from tests.request.wire import KEY, LAST, STREAM_START, bearer


async def booked(memory, path, answer, *, limits="key=9/month", **request):
    """What the key has spent after this request and answer."""
    body = {"max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **request}
    played = await call(memory.guard(ScriptedApp(*answer), limits=limits), body, path=path, headers=bearer())
    assert played.status == 200, played.body
    spent, reserved = await memory.figures(KEY)
    assert reserved == "0.00"
    return spent


def events(*documents):
    """An answer in server-sent events."""
    return (STREAM_START, *map(event, documents), LAST)


def array(*documents):
    """Google's form of a stream: one JSON array."""
    return (start(), chunk(as_array(*documents)), LAST)


def frames(*documents):
    """Amazon's form of a stream: binary frames."""
    return (start(content_type="application/vnd.amazon.eventstream"), chunk(as_frames(*documents)), LAST)
