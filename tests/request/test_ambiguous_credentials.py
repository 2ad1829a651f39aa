"""Whom a request is charged to through the middleware, where its credential could be read in several ways."""

import pytest

from budget_middleware.testing import ScriptedApp, call
from tests.payers.test_credentials import SIGNED
from tests.request.wire import KEY, TOKEN, ask, completion


async def served(guard, **headers) -> int:
    """How many of 30 requests reach the app, each spelled anew where `{}` stands."""
    spelled = [{name.replace("_", "-"): value.format(at) for name, value in headers.items()} for at in range(30)]
    return sum([(await call(guard, ask(600), headers=each)).status == 200 for each in spelled])


@pytest.mark.parametrize("value", ["Bearer Bearer {}", "Bearer {} junk{{}}", "Bearer {}\t{{}}", "Bearer Bearer{{}} {}"])
async def test_f40_more_words_in_a_credential(memory, value):
    guard = memory.guard(ScriptedApp(*completion(600)))
    assert await served(guard, authorization=f"Bearer {TOKEN}") == 1
    assert await served(guard, authorization=value.format(TOKEN)) == 0
    assert await memory.accounts() == {KEY}


async def test_f40_the_answer_names_its_code(memory):
    guard = memory.guard(ScriptedApp(*completion(600)))
    headers = {"authorization": f"Bearer Bearer {TOKEN}"}
    refused = await call(guard, ask(600), headers=headers)
    error = refused.json()["error"]
    assert (refused.status, error["code"], error["type"]) == (400, "ambiguous_credentials", "invalid_request_error")
    assert refused.headers["x-should-retry"] == "false"
    refused = await call(guard, ask(600), path="/v1/messages", headers=headers)
    assert refused.json()["type"] == "error"
    assert refused.json()["error"]["message"].endswith("(ambiguous_credentials)")
    assert TOKEN not in str(refused.json())


async def test_f41_another_scheme_beside_a_token(memory):
    guard = memory.guard(ScriptedApp(*completion(600)))
    signed = f"AWS4-HMAC-SHA256 Credential=Bearer {TOKEN}/20250830/us-east-1/bedrock/aws4_request"
    for authorization in (signed, SIGNED.format(f"Bearer {TOKEN}"), "Digest username=x"):
        assert await served(guard, authorization=authorization, x_api_key="random-{}") == 0
    assert await memory.accounts() == set()
    # Alone it is the account of the key in it.
    assert await served(guard, authorization=SIGNED.format(f"Bearer {TOKEN}")) == 1
    assert await memory.accounts() == {KEY}


# A gateway's own parser.


async def told_later(request) -> str:
    return told(request)


def told(request) -> str:
    return dict(request["headers"])[b"authorization"].decode().replace("Bearer ", "")


@pytest.mark.parametrize("source", [told, told_later])
async def test_a_gateways_own_parser_takes_the_place_of_ours(memory, source):
    guard = memory.guard(ScriptedApp(*completion(600)), credential_source=source)
    for value in (f"Bearer {TOKEN}", f"Bearer Bearer {TOKEN}", f"Bearer {TOKEN}Bearer "):
        await call(guard, ask(100), headers={"authorization": value, "x-api-key": "of the provider"})
    assert await memory.accounts() == {KEY}


@pytest.mark.parametrize("answer", [None, ""])
async def test_it_may_find_none(memory, answer):
    guard = memory.guard(ScriptedApp(*completion(600)), credential_source=lambda _: answer)
    await call(guard, ask(100), headers={"authorization": f"Bearer {TOKEN}"})
    assert await memory.accounts() == {"key:-"}


@pytest.mark.parametrize("answer", [KeyError(TOKEN), b"bytes"])
async def test_where_it_fails_nobody_is_served_and_no_token_told(memory, caplog, answer):
    def fails(_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    guard = memory.guard(ScriptedApp(*completion(600)), credential_source=fails)
    refused = await call(guard, ask(100), headers={"authorization": f"Bearer {TOKEN}"})
    assert refused.status == 503
    assert "credential_source" in caplog.text
    assert TOKEN not in caplog.text + str(refused.json())


async def test_it_is_not_asked_where_no_account_needs_it(memory):
    guard = memory.guard(ScriptedApp(*completion(600)), accounts="team=header:x-team", credential_source=pytest.fail)
    assert (await call(guard, ask(100), headers={"x-team": "red"})).status == 200
