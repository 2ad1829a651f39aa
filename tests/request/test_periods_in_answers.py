"""How answers name a budget whose period is not the plain calendar's, and until when they say that it counts."""

import pytest

from budget_middleware.testing import ScriptedApp, call
from tests.request.wire import KEY, ask, bearer, completion


@pytest.mark.parametrize(
    ("period", "names", "counts"),
    [
        ("minute", "for minute 2026-11-18T14:30+00:00", ("w=60", "t=60")),
        ("month@15", "for the month from 2026-11-15", ("w=2592000", "t=2280600")),
        ("week@sun", "for the week from 2026-11-15", ("w=604800", "t=293400")),
        ("24h", "for the last 24 hours", ("w=86400", "t=1080")),
        ("total@2026-11-19", "until 2026-11-19", ("t=34200",)),
    ],
)
async def test_a_refusal_names_its_window(memory, period: str, names: str, counts: tuple[str, ...]):
    guard = memory.guard(ScriptedApp(*completion(600)), limits=f"key=1/{period}")
    assert (await call(guard, ask(600), headers=bearer())).status == 200
    refused = await call(guard, ask(600), headers=bearer())
    message = refused.json()["error"]["message"]
    assert message.startswith(f"The budget of {KEY} {names} cannot cover this request: limit $1.00, spent $0.60")
    told = f"{refused.headers['ratelimit-policy']};{refused.headers['ratelimit']}".split(";")
    assert tuple(word for word in told if word.startswith(("w=", "t="))) == counts


async def test_a_credit_that_lapsed_is_named_so(memory):
    guard = memory.guard(ScriptedApp(*completion(600)), limits="key=1/total@2026-11-18")
    refused = await call(guard, ask(600), headers=bearer())
    assert refused.json()["error"]["message"].startswith(
        f"The budget of {KEY} that lapsed on 2026-11-18 cannot cover this request: limit $0.00, spent $0.00"
    )
    stranger = await call(guard, ask(600))
    assert (
        stranger.json()["error"]["message"] == "The budget of key that lapsed on 2026-11-18 cannot cover this request."
    )
