"""What is written in the words of each dialect is read back class by class: nothing is lost, nothing counted twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget_middleware.apis import APIS
from budget_middleware.apis.seen import Seen
from budget_middleware.core.pricing import Rates, Unit, breakdown

BY_NAME = {api.name: api for api in APIS}
NO_RATES = Rates(model="m", by_unit={})


def total(counts, *units):
    return sum(counts[unit] for unit in units)


INPUTS = (Unit.INPUT, Unit.CACHED_INPUT, Unit.CACHE_WRITE, Unit.CACHE_WRITE_1H, Unit.INPUT_AUDIO, Unit.CACHED_AUDIO)
OUTPUTS = (Unit.OUTPUT, Unit.REASONING, Unit.OUTPUT_AUDIO)


def chat(counts):
    """As OpenAI and OpenRouter write it: parts within their wholes."""
    cached = total(counts, Unit.CACHED_INPUT, Unit.CACHED_AUDIO)
    written = total(counts, Unit.CACHE_WRITE, Unit.CACHE_WRITE_1H)
    n_in, n_out = total(counts, *INPUTS), total(counts, *OUTPUTS)
    return {
        "usage": {
            "prompt_tokens": n_in,
            "completion_tokens": n_out,
            "total_tokens": n_in + n_out,
            "prompt_tokens_details": {
                "cached_tokens": cached,
                "cached_tokens_details": {"audio_tokens": counts[Unit.CACHED_AUDIO]},
                "audio_tokens": total(counts, Unit.INPUT_AUDIO, Unit.CACHED_AUDIO),
                "cache_write_tokens": written,
                "cache_creation_token_details": {"ephemeral_1h_input_tokens": counts[Unit.CACHE_WRITE_1H]},
            },
            "completion_tokens_details": {
                "reasoning_tokens": counts[Unit.REASONING],
                "audio_tokens": counts[Unit.OUTPUT_AUDIO],
            },
        }
    }


def responses(counts):
    n_in, n_out = total(counts, Unit.INPUT, Unit.CACHED_INPUT), total(counts, Unit.OUTPUT, Unit.REASONING)
    return {
        "status": "completed",
        "output": [],
        "usage": {
            "input_tokens": n_in,
            "output_tokens": n_out,
            "total_tokens": n_in + n_out,
            "input_tokens_details": {"cached_tokens": counts[Unit.CACHED_INPUT]},
            "output_tokens_details": {"reasoning_tokens": counts[Unit.REASONING]},
        },
    }


def xai(counts):
    """Thoughts beside the output, and the total says so."""
    n_in = total(counts, Unit.INPUT, Unit.CACHED_INPUT)
    return {
        "usage": {
            "prompt_tokens": n_in,
            "completion_tokens": counts[Unit.OUTPUT],
            "total_tokens": n_in + total(counts, Unit.OUTPUT, Unit.REASONING),
            "prompt_tokens_details": {"cached_tokens": counts[Unit.CACHED_INPUT]},
            "completion_tokens_details": {"reasoning_tokens": counts[Unit.REASONING]},
        }
    }


def anthropic(counts):
    return {
        "type": "message",
        "content": [],
        "usage": {
            "input_tokens": counts[Unit.INPUT],
            "cache_read_input_tokens": counts[Unit.CACHED_INPUT],
            "cache_creation_input_tokens": total(counts, Unit.CACHE_WRITE, Unit.CACHE_WRITE_1H),
            "cache_creation": {
                "ephemeral_5m_input_tokens": counts[Unit.CACHE_WRITE],
                "ephemeral_1h_input_tokens": counts[Unit.CACHE_WRITE_1H],
            },
            "output_tokens": total(counts, Unit.OUTPUT, Unit.REASONING),
            "output_tokens_details": {"thinking_tokens": counts[Unit.REASONING]},
            "server_tool_use": {"web_search_requests": counts[Unit.WEB_SEARCH]},
        },
    }


def gemini(counts):
    def details(**units):
        return [{"modality": name, "tokenCount": total(counts, *of)} for name, of in units.items()]

    n_in = total(
        counts,
        *(Unit.INPUT, Unit.CACHED_INPUT, Unit.INPUT_AUDIO, Unit.CACHED_AUDIO, Unit.INPUT_IMAGE, Unit.CACHED_IMAGE),
        Unit.INPUT_VIDEO,
    )
    n_out = total(counts, Unit.OUTPUT, Unit.OUTPUT_AUDIO, Unit.OUTPUT_IMAGE)
    return {
        "candidates": [],
        "usageMetadata": {
            "promptTokenCount": n_in,
            "cachedContentTokenCount": total(counts, Unit.CACHED_INPUT, Unit.CACHED_AUDIO, Unit.CACHED_IMAGE),
            "candidatesTokenCount": n_out,
            "thoughtsTokenCount": counts[Unit.REASONING],
            "totalTokenCount": n_in + n_out + counts[Unit.REASONING],
            "promptTokensDetails": details(
                AUDIO=(Unit.INPUT_AUDIO, Unit.CACHED_AUDIO),
                IMAGE=(Unit.INPUT_IMAGE, Unit.CACHED_IMAGE),
                VIDEO=(Unit.INPUT_VIDEO,),
            ),
            "cacheTokensDetails": details(AUDIO=(Unit.CACHED_AUDIO,), IMAGE=(Unit.CACHED_IMAGE,)),
            "candidatesTokensDetails": details(AUDIO=(Unit.OUTPUT_AUDIO,), IMAGE=(Unit.OUTPUT_IMAGE,)),
        },
    }


def converse(counts):
    return {
        "output": {"message": {"content": []}},
        "usage": {
            "inputTokens": counts[Unit.INPUT],
            "outputTokens": counts[Unit.OUTPUT],
            "cacheReadInputTokens": counts[Unit.CACHED_INPUT],
            "cacheWriteInputTokens": total(counts, Unit.CACHE_WRITE, Unit.CACHE_WRITE_1H),
            "cacheDetails": [
                {"ttl": "5m", "inputTokens": counts[Unit.CACHE_WRITE]},
                {"ttl": "1h", "inputTokens": counts[Unit.CACHE_WRITE_1H]},
            ],
            "totalTokens": total(counts, *INPUTS[:4], Unit.OUTPUT),
        },
    }


def moonshot(counts):
    n_in = total(counts, Unit.INPUT, Unit.CACHED_INPUT)
    usage = {
        "prompt_tokens": n_in,
        "completion_tokens": counts[Unit.OUTPUT],
        "total_tokens": n_in + counts[Unit.OUTPUT],
        "cached_tokens": counts[Unit.CACHED_INPUT],
    }
    return {"choices": [{"index": 0, "message": {}, "usage": usage}]}


def deepseek(counts):
    n_in, n_out = total(counts, Unit.INPUT, Unit.CACHED_INPUT), total(counts, Unit.OUTPUT, Unit.REASONING)
    return {
        "usage": {
            "prompt_tokens": n_in,
            "completion_tokens": n_out,
            "total_tokens": n_in + n_out,
            "prompt_cache_hit_tokens": counts[Unit.CACHED_INPUT],
            "prompt_cache_miss_tokens": counts[Unit.INPUT],
            "completion_tokens_details": {"reasoning_tokens": counts[Unit.REASONING]},
        }
    }


def images(counts):
    n_in, n_out = total(counts, Unit.INPUT, Unit.INPUT_IMAGE), total(counts, Unit.OUTPUT, Unit.OUTPUT_IMAGE)
    return {
        "data": [],
        "usage": {
            "input_tokens": n_in,
            "input_tokens_details": {"image_tokens": counts[Unit.INPUT_IMAGE]},
            "output_tokens": n_out,
            "output_tokens_details": {"text_tokens": counts[Unit.OUTPUT], "image_tokens": counts[Unit.OUTPUT_IMAGE]},
            "total_tokens": n_in + n_out,
        },
    }


def ollama(counts):
    return {"done": True, "prompt_eval_count": counts[Unit.INPUT], "eval_count": counts[Unit.OUTPUT]}


# dialect: its API, what writes it, and the classes that it tells apart
DIALECTS = {
    "chat": ("openai-chat", chat, (*INPUTS, *OUTPUTS)),
    "responses": (
        "openai-responses",
        responses,
        (Unit.INPUT, Unit.CACHED_INPUT, Unit.OUTPUT, Unit.REASONING),
    ),
    "xai": ("openai-chat", xai, (Unit.INPUT, Unit.CACHED_INPUT, Unit.OUTPUT, Unit.REASONING)),
    "anthropic": (
        "anthropic-messages",
        anthropic,
        (*INPUTS[:4], Unit.OUTPUT, Unit.REASONING, Unit.WEB_SEARCH),
    ),
    "gemini": (
        "gemini",
        gemini,
        (
            *(Unit.INPUT, Unit.CACHED_INPUT, Unit.INPUT_AUDIO, Unit.CACHED_AUDIO, Unit.INPUT_IMAGE, Unit.CACHED_IMAGE),
            *(Unit.INPUT_VIDEO, Unit.OUTPUT, Unit.REASONING, Unit.OUTPUT_AUDIO, Unit.OUTPUT_IMAGE),
        ),
    ),
    "converse": ("bedrock", converse, (*INPUTS[:4], Unit.OUTPUT)),
    "moonshot": ("openai-chat", moonshot, (Unit.INPUT, Unit.CACHED_INPUT, Unit.OUTPUT)),
    "deepseek": ("openai-chat", deepseek, (Unit.INPUT, Unit.CACHED_INPUT, Unit.OUTPUT, Unit.REASONING)),
    "images": ("openai-images", images, (Unit.INPUT, Unit.INPUT_IMAGE, Unit.OUTPUT, Unit.OUTPUT_IMAGE)),
    "ollama": ("ollama", ollama, (Unit.INPUT, Unit.OUTPUT)),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=300)
@given(data=st.data())
def test_each_class_is_read_as_it_was_written(dialect, data):
    name, write, units = DIALECTS[dialect]
    # So few that parts and wholes are often equal by accident. Every call has some input and some output.
    drawn = data.draw(st.fixed_dictionaries({unit: st.integers(0, 4) for unit in units}))
    counts = {**dict.fromkeys(Unit, 0), **drawn, Unit.INPUT: drawn[Unit.INPUT] + 1, Unit.OUTPUT: drawn[Unit.OUTPUT] + 1}
    seen = Seen()
    BY_NAME[name].read_json(write(counts), seen)
    assert seen.usage is not None
    read = {line.unit: line.count for line in breakdown(NO_RATES, seen.usage)}
    assert read == {unit: count for unit, count in counts.items() if count}
    assert not seen.doubt
