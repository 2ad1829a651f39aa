"""What answers of Google's own API are booked at, with usages as bug reports of gateways have them."""

import pytest

from budget_middleware.testing import json_answer
from tests.bills.booked import array, booked, events

PRO = "gemini-2.5-pro"
TEXT = ({"text": "hello"},)
DRAWN = ({"inlineData": {"mimeType": "image/png", "data": "AAAA"}},)
SPOKEN = ({"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AAAA"}},)


def path_of(model, verb="generateContent"):
    return f"/v1beta/models/{model}:{verb}"


def content(usage, parts=TEXT, **fields):
    candidate = {"content": {"parts": list(parts)}, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": usage, **fields}


def counts(prompt=None, candidates=None, thoughts=None, total=None, **fields):
    told = {"promptTokenCount": prompt, "candidatesTokenCount": candidates}
    told |= {"thoughtsTokenCount": thoughts, "totalTokenCount": total}
    return {name: count for name, count in told.items() if count is not None} | fields


def of_image(count):
    return {"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": count}]}


# 2.5 Pro: 1.25 and 10 a million. 2.5 Flash Image: .3, and 30 for what it draws. 3 Pro Image: 2, 12 and 120.
CASES = {
    "thoughts beside the candidates": (PRO, content(counts(15, 359, 661, 1035)), "0.01021875"),
    "thoughts that are part of them": (PRO, content(counts(10, 1205, 1200, 1215)), "0.0120625"),
    "thoughts without a total": (PRO, content(counts(10, 1205, 1200)), "0.0240625"),
    "part of them, with what a tool has found": (
        PRO,
        content(counts(10, 1205, 1200, 1315, toolUsePromptTokenCount=100)),
        "0.0121875",
    ),
    "what a tool has found": (
        PRO,
        content(counts(100, 50, 10, 5160, toolUsePromptTokenCount=5000)),
        "0.006975",
    ),
    # The input, 1,200 tokens; and 2 of output, by its text.
    "a total alone": (PRO, content(counts(total=1200)), "0.00152"),
    "a total and the output": (PRO, content(counts(candidates=5, total=1005)), "0.0013"),
    # Every call has some input, and the request has five tokens.
    "output alone": (PRO, content(counts(candidates=500)), "0.00500625"),
    "thoughts and text of an image": (
        "gemini-3-pro-image-preview",
        content(counts(326, 2340, 337, 3003, **of_image(2000)), DRAWN),
        "0.248776",
    ),
    "an image": ("gemini-2.5-flash-image", content(counts(10, 1290, None, 1300, **of_image(1290)), DRAWN), "0.038703"),
    "an image that the usage does not tell": (
        "gemini-2.5-flash-image",
        content(counts(10, 1290, None, 1300), DRAWN),
        "0.038703",
    ),
    "no image": ("gemini-2.5-flash-image", content(counts(10, 1290, None, 1300)), "0.003228"),
    # A voice costs 10, and it has no other output.
    "a voice": ("gemini-2.5-flash-preview-tts", content(counts(10, 500, None, 510), SPOKEN), "0.005005"),
    "a flexible tier": (PRO, content(counts(1000, 100, trafficType="ON_DEMAND_FLEX")), "0.001125"),
    "a tier that goes before others": (PRO, content(counts(1000, 100, trafficType="ON_DEMAND_PRIORITY")), "0.00405"),
    "the same by the name of the other API": (PRO, content(counts(1000, 100, serviceTier="priority")), "0.00405"),
    # 100 of text at .3 and 900 of sound at 1, then 100 at 2.5.
    "written as in Google's SDKs": (
        "gemini-2.5-flash",
        {
            "candidates": [{"content": {"parts": list(TEXT)}, "finish_reason": "STOP"}],
            "usage_metadata": {
                "prompt_token_count": 1000,
                "candidates_token_count": 100,
                "prompt_tokens_details": [
                    {"modality": "TEXT", "token_count": 100},
                    {"modality": "AUDIO", "token_count": 900},
                ],
                "cache_tokens_details": None,
            },
        },
        "0.00118",
    ),
    "the usual tier": (PRO, content(counts(1000, 100, trafficType="ON_DEMAND")), "0.00225"),
    # A fee for a request is none for tokens.
    "a search in a flexible tier": (
        "gemini-3.1-pro-preview",
        {
            "candidates": [
                {
                    "content": {"parts": list(TEXT)},
                    "groundingMetadata": {"webSearchQueries": ["x"]},
                }
            ],
            "usageMetadata": counts(1000, 100, serviceTier="flex"),
        },
        "0.0156",
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_bill_of_content(memory, name):
    model, document, spent = CASES[name]
    assert await booked(memory, path_of(model), json_answer(document)) == spent


@pytest.mark.parametrize("form", [array, events])
async def test_an_image_before_the_usage_that_does_not_tell_it(memory, form):
    first = {"candidates": [{"content": {"parts": list(DRAWN)}}]}
    answer = form(first, content(counts(10, 1290, None, 1300), ()))
    assert await booked(memory, path_of("gemini-2.5-flash-image", "streamGenerateContent"), answer) == "0.038703"


async def test_thoughts_that_the_last_chunk_leaves_out(memory):
    answer = events(content(counts(10, None, 100, 110), ()), content(counts(10, 20, None, 130)))
    assert await booked(memory, path_of(PRO, "streamGenerateContent"), answer) == "0.0012125"


async def test_a_dearer_tier_is_reserved(memory):
    """1,000 tokens of output at 10 are .01, and eight tenths more."""
    answer = json_answer(content(counts(1, 1)))
    request = {"generationConfig": {"maxOutputTokens": 1000}, "max_tokens": None, "limits": "key=0.015/month"}
    assert float(await booked(memory, path_of(PRO), answer, **request)) < 0.001
    with pytest.raises(AssertionError, match="429"):
        await booked(memory, path_of(PRO), answer, serviceTier="priority", **request)
