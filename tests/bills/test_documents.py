"""What is written in the words of each dialect is read back class by class: nothing is lost, nothing counted twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget_middleware.apis import APIS
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.pricing import Rates, UsageClass, breakdown
from tests.examples import examples

BY_NAME = {api.name: api for api in APIS}
NO_RATES = Rates(model="m", by_unit={})


def total(counts, *units):
    return sum(counts[unit] for unit in units)


INPUTS = (
    UsageClass.INPUT,
    UsageClass.CACHED_INPUT,
    UsageClass.CACHE_WRITE,
    UsageClass.CACHE_WRITE_1H,
    UsageClass.INPUT_AUDIO,
    UsageClass.CACHED_AUDIO,
)
OUTPUTS = (UsageClass.OUTPUT, UsageClass.REASONING, UsageClass.OUTPUT_AUDIO)


def chat(counts):
    """As OpenAI and OpenRouter write it: parts within their wholes."""
    cached = total(counts, UsageClass.CACHED_INPUT, UsageClass.CACHED_AUDIO)
    written = total(counts, UsageClass.CACHE_WRITE, UsageClass.CACHE_WRITE_1H)
    n_in, n_out = total(counts, *INPUTS), total(counts, *OUTPUTS)
    return {
        "usage": {
            "prompt_tokens": n_in,
            "completion_tokens": n_out,
            "total_tokens": n_in + n_out,
            "prompt_tokens_details": {
                "cached_tokens": cached,
                "cached_tokens_details": {"audio_tokens": counts[UsageClass.CACHED_AUDIO]},
                "audio_tokens": total(counts, UsageClass.INPUT_AUDIO, UsageClass.CACHED_AUDIO),
                "cache_write_tokens": written,
                "cache_creation_token_details": {"ephemeral_1h_input_tokens": counts[UsageClass.CACHE_WRITE_1H]},
            },
            "completion_tokens_details": {
                "reasoning_tokens": counts[UsageClass.REASONING],
                "audio_tokens": counts[UsageClass.OUTPUT_AUDIO],
            },
        }
    }


def responses(counts):
    n_in, n_out = (
        total(counts, UsageClass.INPUT, UsageClass.CACHED_INPUT),
        total(counts, UsageClass.OUTPUT, UsageClass.REASONING),
    )
    return {
        "status": "completed",
        "output": [],
        "usage": {
            "input_tokens": n_in,
            "output_tokens": n_out,
            "total_tokens": n_in + n_out,
            "input_tokens_details": {"cached_tokens": counts[UsageClass.CACHED_INPUT]},
            "output_tokens_details": {"reasoning_tokens": counts[UsageClass.REASONING]},
        },
    }


def xai(counts):
    """Thoughts beside the output, and the total says so."""
    n_in = total(counts, UsageClass.INPUT, UsageClass.CACHED_INPUT)
    return {
        "usage": {
            "prompt_tokens": n_in,
            "completion_tokens": counts[UsageClass.OUTPUT],
            "total_tokens": n_in + total(counts, UsageClass.OUTPUT, UsageClass.REASONING),
            "prompt_tokens_details": {"cached_tokens": counts[UsageClass.CACHED_INPUT]},
            "completion_tokens_details": {"reasoning_tokens": counts[UsageClass.REASONING]},
        }
    }


def anthropic(counts):
    return {
        "type": "message",
        "content": [],
        "usage": {
            "input_tokens": counts[UsageClass.INPUT],
            "cache_read_input_tokens": counts[UsageClass.CACHED_INPUT],
            "cache_creation_input_tokens": total(counts, UsageClass.CACHE_WRITE, UsageClass.CACHE_WRITE_1H),
            "cache_creation": {
                "ephemeral_5m_input_tokens": counts[UsageClass.CACHE_WRITE],
                "ephemeral_1h_input_tokens": counts[UsageClass.CACHE_WRITE_1H],
            },
            "output_tokens": total(counts, UsageClass.OUTPUT, UsageClass.REASONING),
            "output_tokens_details": {"thinking_tokens": counts[UsageClass.REASONING]},
            "server_tool_use": {"web_search_requests": counts[UsageClass.WEB_SEARCH]},
        },
    }


def gemini(counts):
    def details(**units):
        return [{"modality": name, "tokenCount": total(counts, *of)} for name, of in units.items()]

    n_in = total(
        counts,
        *(
            UsageClass.INPUT,
            UsageClass.CACHED_INPUT,
            UsageClass.INPUT_AUDIO,
            UsageClass.CACHED_AUDIO,
            UsageClass.INPUT_IMAGE,
            UsageClass.CACHED_IMAGE,
        ),
        UsageClass.INPUT_VIDEO,
    )
    n_out = total(counts, UsageClass.OUTPUT, UsageClass.OUTPUT_AUDIO, UsageClass.OUTPUT_IMAGE)
    return {
        "candidates": [],
        "usageMetadata": {
            "promptTokenCount": n_in,
            "cachedContentTokenCount": total(
                counts, UsageClass.CACHED_INPUT, UsageClass.CACHED_AUDIO, UsageClass.CACHED_IMAGE
            ),
            "candidatesTokenCount": n_out,
            "thoughtsTokenCount": counts[UsageClass.REASONING],
            "totalTokenCount": n_in + n_out + counts[UsageClass.REASONING],
            "promptTokensDetails": details(
                AUDIO=(UsageClass.INPUT_AUDIO, UsageClass.CACHED_AUDIO),
                IMAGE=(UsageClass.INPUT_IMAGE, UsageClass.CACHED_IMAGE),
                VIDEO=(UsageClass.INPUT_VIDEO,),
            ),
            "cacheTokensDetails": details(AUDIO=(UsageClass.CACHED_AUDIO,), IMAGE=(UsageClass.CACHED_IMAGE,)),
            "candidatesTokensDetails": details(AUDIO=(UsageClass.OUTPUT_AUDIO,), IMAGE=(UsageClass.OUTPUT_IMAGE,)),
        },
    }


def converse(counts):
    return {
        "output": {"message": {"content": []}},
        "usage": {
            "inputTokens": counts[UsageClass.INPUT],
            "outputTokens": counts[UsageClass.OUTPUT],
            "cacheReadInputTokens": counts[UsageClass.CACHED_INPUT],
            "cacheWriteInputTokens": total(counts, UsageClass.CACHE_WRITE, UsageClass.CACHE_WRITE_1H),
            "cacheDetails": [
                {"ttl": "5m", "inputTokens": counts[UsageClass.CACHE_WRITE]},
                {"ttl": "1h", "inputTokens": counts[UsageClass.CACHE_WRITE_1H]},
            ],
            "totalTokens": total(counts, *INPUTS[:4], UsageClass.OUTPUT),
        },
    }


def moonshot(counts):
    n_in = total(counts, UsageClass.INPUT, UsageClass.CACHED_INPUT)
    usage = {
        "prompt_tokens": n_in,
        "completion_tokens": counts[UsageClass.OUTPUT],
        "total_tokens": n_in + counts[UsageClass.OUTPUT],
        "cached_tokens": counts[UsageClass.CACHED_INPUT],
    }
    return {"choices": [{"index": 0, "message": {}, "usage": usage}]}


def deepseek(counts):
    n_in, n_out = (
        total(counts, UsageClass.INPUT, UsageClass.CACHED_INPUT),
        total(counts, UsageClass.OUTPUT, UsageClass.REASONING),
    )
    return {
        "usage": {
            "prompt_tokens": n_in,
            "completion_tokens": n_out,
            "total_tokens": n_in + n_out,
            "prompt_cache_hit_tokens": counts[UsageClass.CACHED_INPUT],
            "prompt_cache_miss_tokens": counts[UsageClass.INPUT],
            "completion_tokens_details": {"reasoning_tokens": counts[UsageClass.REASONING]},
        }
    }


def images(counts):
    n_in, n_out = (
        total(counts, UsageClass.INPUT, UsageClass.INPUT_IMAGE),
        total(counts, UsageClass.OUTPUT, UsageClass.OUTPUT_IMAGE),
    )
    return {
        "data": [],
        "usage": {
            "input_tokens": n_in,
            "input_tokens_details": {"image_tokens": counts[UsageClass.INPUT_IMAGE]},
            "output_tokens": n_out,
            "output_tokens_details": {
                "text_tokens": counts[UsageClass.OUTPUT],
                "image_tokens": counts[UsageClass.OUTPUT_IMAGE],
            },
            "total_tokens": n_in + n_out,
        },
    }


def ollama(counts):
    return {"done": True, "prompt_eval_count": counts[UsageClass.INPUT], "eval_count": counts[UsageClass.OUTPUT]}


# dialect: its API, what writes it, and the classes that it tells apart
DIALECTS = {
    "chat": ("openai-chat", chat, (*INPUTS, *OUTPUTS)),
    "responses": (
        "openai-responses",
        responses,
        (UsageClass.INPUT, UsageClass.CACHED_INPUT, UsageClass.OUTPUT, UsageClass.REASONING),
    ),
    "xai": ("openai-chat", xai, (UsageClass.INPUT, UsageClass.CACHED_INPUT, UsageClass.OUTPUT, UsageClass.REASONING)),
    "anthropic": (
        "anthropic-messages",
        anthropic,
        (*INPUTS[:4], UsageClass.OUTPUT, UsageClass.REASONING, UsageClass.WEB_SEARCH),
    ),
    "gemini": (
        "gemini",
        gemini,
        (
            *(
                UsageClass.INPUT,
                UsageClass.CACHED_INPUT,
                UsageClass.INPUT_AUDIO,
                UsageClass.CACHED_AUDIO,
                UsageClass.INPUT_IMAGE,
                UsageClass.CACHED_IMAGE,
            ),
            *(
                UsageClass.INPUT_VIDEO,
                UsageClass.OUTPUT,
                UsageClass.REASONING,
                UsageClass.OUTPUT_AUDIO,
                UsageClass.OUTPUT_IMAGE,
            ),
        ),
    ),
    "converse": ("bedrock", converse, (*INPUTS[:4], UsageClass.OUTPUT)),
    "moonshot": ("openai-chat", moonshot, (UsageClass.INPUT, UsageClass.CACHED_INPUT, UsageClass.OUTPUT)),
    "deepseek": (
        "openai-chat",
        deepseek,
        (UsageClass.INPUT, UsageClass.CACHED_INPUT, UsageClass.OUTPUT, UsageClass.REASONING),
    ),
    "images": (
        "openai-images",
        images,
        (UsageClass.INPUT, UsageClass.INPUT_IMAGE, UsageClass.OUTPUT, UsageClass.OUTPUT_IMAGE),
    ),
    "ollama": ("ollama", ollama, (UsageClass.INPUT, UsageClass.OUTPUT)),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=examples(300))
@given(data=st.data())
def test_each_class_is_read_as_it_was_written(dialect, data):
    name, write, units = DIALECTS[dialect]
    # So few that parts and wholes are often equal by accident. Every call has some input and some output.
    # One draw of bytes: as many of integers take three times as long.
    few = [byte % 5 for byte in data.draw(st.binary(min_size=len(units), max_size=len(units)))]
    drawn = dict(zip(units, few, strict=True))
    counts = {
        **dict.fromkeys(UsageClass, 0),
        **drawn,
        UsageClass.INPUT: drawn[UsageClass.INPUT] + 1,
        UsageClass.OUTPUT: drawn[UsageClass.OUTPUT] + 1,
    }
    seen = Seen()
    BY_NAME[name].read_json(write(counts), seen)
    assert seen.usage is not None
    read = {line.unit: line.count for line in breakdown(NO_RATES, seen.usage)}
    assert read == {unit: count for unit, count in counts.items() if count}
    assert not seen.contradiction
