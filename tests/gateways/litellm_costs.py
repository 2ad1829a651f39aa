"""What LiteLLM's own cost calculator makes of answers.

A program for the gateways' own environment: a line of JSON in for each, `[name, provider, kind, model, service tier,
answer]`; lines of JSON out: the path of its price map, then `[name, USD as text, error]`, one of the two null.
"""

import json
import os
import sys
from decimal import Decimal
from pathlib import Path

# Its price list is asked for over the internet otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from litellm.llms.anthropic.chat.transformation import AnthropicConfig
from litellm.llms.bedrock.chat.converse_transformation import AmazonConverseConfig
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig
from litellm.types.llms.openai import ResponsesAPIResponse
from litellm.types.rerank import RerankResponse
from litellm.types.utils import (
    EmbeddingResponse,
    ImageResponse,
    ModelResponse,
    TextCompletionResponse,
    TranscriptionResponse,
)

MAP = Path(litellm.__file__).parent / "model_prices_and_context_window_backup.json"


def from_anthropic(answer):
    usage = answer["usage"]
    read = AnthropicConfig().calculate_usage(usage, None, completion_response=answer, speed=usage.get("speed"))
    return ModelResponse(usage=read, model=answer["model"])


def from_gemini(answer):
    return ModelResponse(usage=VertexGeminiConfig._calculate_usage(answer), model=answer["modelVersion"])


def from_converse(answer):
    return ModelResponse(usage=AmazonConverseConfig().transform_usage(answer["usage"]))


def transcription(answer):
    response = TranscriptionResponse(text=answer["text"])
    for name in ("usage", "duration"):
        if name in answer:
            setattr(response, name, answer[name])
    return response


READERS = {
    "chat": (lambda answer: ModelResponse(**answer), "completion"),
    "completion": (lambda answer: TextCompletionResponse(**answer), "text_completion"),
    "responses": (lambda answer: ResponsesAPIResponse(**answer), "responses"),
    "embedding": (lambda answer: EmbeddingResponse(**answer), "embedding"),
    "image": (lambda answer: ImageResponse(**answer), "image_generation"),
    "transcription": (transcription, "transcription"),
    "rerank": (lambda answer: RerankResponse(**answer), "rerank"),
    "anthropic": (from_anthropic, "completion"),
    "gemini": (from_gemini, "completion"),
    "converse": (from_converse, "completion"),
}


def cost_of(provider, kind, model, tier, answer) -> str:
    read, call_type = READERS[kind]
    cost = litellm.completion_cost(
        completion_response=read(answer),
        model=model,
        custom_llm_provider=provider,
        call_type=call_type,
        service_tier=tier,
    )
    return str(Decimal(repr(cost)).quantize(Decimal("1e-12")))


def main() -> None:
    print(json.dumps(str(MAP)))
    for line in sys.stdin:
        name, *asked = json.loads(line)
        try:
            print(json.dumps([name, cost_of(*asked), None]))
        except Exception as error:  # noqa: BLE001 - the test shows it
            print(json.dumps([name, None, f"{type(error).__name__}: {error}"[:200]]))


main()
