"""What each API's requests say: their paths, their model, their input and the most output they may have."""

import json

import pytest

from budget_middleware.apis import APIS, is_free_route
from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.form import File, Form
from budget_middleware.apis.bodies.reading import UNREADABLE
from budget_middleware.apis.openai.images import OpenAIImages
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.core.costs.pricing import UsageClass

BY_NAME = {api.name: api for api in APIS}
TEXT = "x" * 400  # A hundred tokens.
GEMINI = "/v1beta/models/gemini-2.5-flash"
BEDROCK = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0"

PATHS = {
    "/v1/chat/completions": "openai-chat",
    "/openai/deployments/gpt-4o/chat/completions": "openai-chat",
    "/x-chat/completions": "openai-completions",
    "/v1/completions": "openai-completions",
    "/v1/completions/": "openai-completions",
    "/v1/fim/completions": "openai-completions",
    "/v1/responses": "openai-responses",
    "/v1/responses/compact": "openai-responses",
    "/v1/embeddings": "openai-embeddings",
    "/v1/images/generations": "openai-images",
    "/v1/images/edits": "openai-images",
    "/v1/containers": "openai-containers",
    "/v1/images/variations": "openai-images",
    "/v1/audio/speech": "openai-speech",
    "/v1/audio/transcriptions": "openai-transcriptions",
    "/v1/audio/translations": "openai-transcriptions",
    "/v1/messages": "anthropic-messages",
    "/anthropic/v1/messages/": "anthropic-messages",
    "/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4-5:rawPredict": "anthropic-messages",
    "/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4-5:streamRawPredict": "anthropic-messages",
    f"{GEMINI}:generateContent": "gemini",
    f"{GEMINI}:streamGenerateContent": "gemini",
    f"{GEMINI}:embedContent": "gemini",
    f"{GEMINI}:batchEmbedContents": "gemini",
    "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent": "gemini",
    "/v1beta/models/gemini/gemini-2.5-pro:generateContent": "gemini",
    "/v1beta/interactions": "gemini-interactions",
    "/v1beta/decisions": "gemini-decisions",
    "/v1beta/models/imagen-4.0-generate-001:predict": "google-predict",
    "/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict": "google-predict",
    "/v1beta1/projects/p/locations/global/interactions": "gemini-interactions",
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent": "gemini-live",
    "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent": "gemini-live",
    "/rerank": "rerank",
    "/v2/rerank": "rerank",
    "/api/chat": "ollama",
    "/api/generate": "ollama",
    "/api/embed": "ollama",
    "/api/embeddings": "openai-embeddings",
    f"{BEDROCK}/invoke": "bedrock",
    f"{BEDROCK}/invoke-with-response-stream": "bedrock",
    f"{BEDROCK}/converse": "bedrock",
    f"{BEDROCK}/converse-stream": "bedrock",
    "/bedrock/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-pro-v1:0/converse": "bedrock",
}
FREE = [
    "/v1/moderations",
    "/v1/messages/count_tokens",
    "/v1/responses/input_tokens",
    f"{GEMINI}:countTokens",
    f"{BEDROCK}/count-tokens",
    "/v1/batches/batch_1/cancel",
    "/v1/messages/batches/msgbatch_1/cancel",
    f"{GEMINI}:asyncBatchEmbedContent",
    "/v1/files",
    "/v1/uploads",
    "/v1/uploads/u/parts",
    "/v1/evals/e/runs/evalrun_1",
    "/v1/threads/t/runs/run_1",
    "/v1/responses/resp_1/cancel",
    "/v1beta/interactions/v1_x/cancel",
    "/tokenize",
    "/extras/tokenize/count",
    "/api/show",
]
UNKNOWN = [
    "",
    "/",
    "/v1/threads/thread_1/messages",
    "/v1/threads/thread_1/runs",
    # Of a server of agents: these run one.
    *(f"/threads/t/runs/{verb}" for verb in ("stream", "wait", "batch")),
    *("/runs/stream", "/runs/wait", "/runs/batch", "/runs/WAIT/"),
    "/v1/chat/completions/chatcmpl-1",
    "/v1/messages/msg_1",
    "/v1/projects/p/locations/l/endpoints/7:predict",
    "/v1/models",
    "/model/x/other",
    "chat/completionsx",
]


@pytest.mark.parametrize(("path", "name"), PATHS.items())
def test_each_path_is_of_one_api(path, name):
    for prefix in ("", "/eu/gateway"):
        matching = [api.name for api in APIS if api.matches(prefix + path)]
        assert matching == [name]
        assert not is_free_route(prefix + path)


@pytest.mark.parametrize("path", FREE)
def test_free_paths_are_of_no_api(path):
    assert [api.name for api in APIS if api.matches(path)] == []
    assert is_free_route(path)
    assert is_free_route(path + "/")


@pytest.mark.parametrize("path", UNKNOWN)
def test_other_paths_are_neither(path):
    assert [api.name for api in APIS if api.matches(path)] == []
    assert not is_free_route(path)


def read(path, body, n_bytes=None):
    api = next(api for api in APIS if api.matches(path))
    return api.read_request(body, path=path, n_bytes=len(json.dumps(body)) if n_bytes is None else n_bytes)


MESSAGES = [{"role": "user", "content": TEXT}]
CONTENTS = [{"role": "user", "parts": [{"text": TEXT}]}]
FILE = File(80_000, b"ID3")  # Ten seconds.

# path, body -> expected facts of the Ask; input tokens are those of the texts and at most a few more for the keys.
REQUESTS: dict[str, tuple[str, dict, int, dict]] = {
    "a chat": ("/v1/chat/completions", {"model": "m", "messages": MESSAGES, "n": 2}, 100, {"hides_input": False}),
    "a chat with an image": (
        "/v1/chat/completions",
        {"model": "gpt-4o", "messages": [{"content": [{"type": "image_url", "image_url": {"url": "https://x/a"}}]}]},
        1_844,
        {},
    ),
    "a chat with an image for mini": (
        "/v1/chat/completions",
        {
            "model": "openai/gpt-4o-mini-2024-07-18",
            "messages": [{"content": [{"type": "image_url", "image_url": {"url": "https://x/a"}}]}],
        },
        48_169,
        {},
    ),
    "a chat that searches": ("/v1/chat/completions", {"web_search_options": {}}, 0, {"hides_input": True}),
    "a chat with a gateway's own tool": (
        "/v1/chat/completions",
        {"tools": [{"type": "openrouter:web_search"}]},
        0,
        {"hides_input": True},
    ),
    "a chat that spoke before": (
        "/v1/chat/completions",
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        0,
        {"hides_input": True},
    ),
    "a chat that is cached for an hour": (
        "/v1/chat/completions",
        {"messages": [{"content": [{"text": TEXT, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}]},
        100,
        {"caches_for_an_hour": True},
    ),
    "a response that names stored items": (
        "/v1/responses",
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        0,
        {"hides_input": True},
    ),
    "a response that names them shortly": ("/v1/responses", {"input": [{"id": "msg_1"}]}, 0, {"hides_input": True}),
    "a response to a message": (
        "/v1/responses",
        {"input": [{"role": "user", "content": TEXT}]},
        100,
        {"hides_input": False},
    ),
    "completions": ("/v1/completions", {"model": "m", "prompt": TEXT, "max_tokens": 9}, 100, {"max_output_tokens": 9}),
    "several prompts": ("/v1/completions", {"prompt": [TEXT, TEXT], "n": 2, "best_of": 3}, 200, {"choices": 6}),
    "a prompt of tokens": ("/v1/completions", {"prompt": [1, 2, 3]}, 3, {"choices": 1}),
    "prompts of tokens": ("/v1/completions", {"prompt": [[1, 2], [3]]}, 3, {"choices": 2}),
    "a response": (
        "/v1/responses",
        {
            "model": "m",
            "input": TEXT,
            "instructions": TEXT,
            "tools": [{"type": "function", "name": TEXT}],
            "metadata": TEXT,
        },
        300,
        {"model": "m", "hides_input": False, "max_output_tokens": None},
    ),
    "the largest of a response's maxima": (
        "/v1/responses",
        {"input": [], "max_output_tokens": 5, "max_tokens": 7},
        0,
        {"max_output_tokens": 7},
    ),
    "a response that goes on": ("/v1/responses", {"previous_response_id": "r"}, 0, {"hides_input": True}),
    "a response that searches": ("/v1/responses", {"tools": [{"type": "web_search"}]}, 0, {"hides_input": True}),
    "a service tier": ("/v1/responses", {"service_tier": "flex"}, 0, {"service_tier": "flex"}),
    "embeddings": ("/v1/embeddings", {"model": "m", "input": [TEXT, TEXT]}, 200, {"max_output_tokens": 0}),
    "embeddings of tokens": ("/v1/embeddings", {"input": [[1, 2], [3]]}, 3, {"max_output_tokens": 0}),
    "an image": (
        "/v1/images/generations",
        {"prompt": TEXT},
        100,
        {"max_output_tokens": 6_240, "choices": 1, "output_unit": UsageClass.OUTPUT_IMAGE},
    ),
    "images": (
        "/v1/images/generations",
        {"prompt": TEXT, "n": 3, "quality": "low", "partial_images": 2},
        100,
        {"max_output_tokens": 608, "choices": 3},
    ),
    "an edit": (
        "/v1/images/edits",
        Form(prompt=TEXT, n="2", quality="medium", model="m", image=[File(90_000, b"")]),
        100 + 1_844,
        {"max_output_tokens": 1_584, "choices": 2, "model": "m"},
    ),
    "speech": (
        "/v1/audio/speech",
        {"model": "tts-1", "input": TEXT, "voice": "alloy"},
        100,
        {"expected_output_tokens": 800, "output_unit": UsageClass.OUTPUT_AUDIO},
    ),
    "a transcription": (
        "/v1/audio/transcriptions",
        Form(model="whisper-1", file=[FILE]),
        100,
        {"model": "whisper-1", "expected_output_tokens": 40},
    ),
    "a message": (
        "/v1/messages",
        {"model": "m", "system": TEXT, "messages": MESSAGES, "max_tokens": 7, "metadata": {"user_id": TEXT}},
        200,
        {"max_output_tokens": 7, "hides_input": False},
    ),
    "a message with tools": (
        "/v1/messages",
        {"messages": MESSAGES, "tools": [{"name": "f", "description": TEXT, "input_schema": {}}], "max_tokens": 7},
        200 + 350,
        {"hides_input": False},
    ),
    "a message that searches": (
        "/v1/messages",
        {"tools": [{"type": "web_search_20250305"}]},
        350,
        {"hides_input": True},
    ),
    "a message whose tools Anthropic defines": (
        "/v1/messages",
        {"tools": [{"type": "bash_20250124"}, {"type": "custom", "input_schema": {}}, {"input_schema": {}}]},
        350 + 700,
        {"hides_input": False},
    ),
    "a message with files": ("/v1/messages", {"container": "c"}, 0, {"hides_input": True}),
    "a message with an adviser": (
        "/v1/messages",
        {"tools": [{"type": "advisor_20260301", "model": "claude-opus-4-8"}]},
        350,
        {"hides_input": True},
    ),
    "a fast message": ("/v1/messages", {"speed": "fast"}, 0, {"service_tier": "fast"}),
    "a message at Google": (
        "/v1/projects/p/publishers/anthropic/models/claude-opus-4-5:rawPredict",
        {"model": "cheap", "messages": MESSAGES, "max_tokens": 7},
        100,
        {"model": "claude-opus-4-5"},
    ),
    "content": (
        f"{GEMINI}:generateContent",
        {
            "contents": CONTENTS,
            "systemInstruction": {"parts": [{"text": TEXT}]},
            "tools": [{"functionDeclarations": [{"name": "f", "description": TEXT}]}],
            "generationConfig": {"maxOutputTokens": 50, "candidateCount": 2, "responseSchema": {"x": TEXT}},
            "safetySettings": TEXT,
            "model": "cheap",
        },
        400,
        {"model": "gemini-2.5-flash", "max_output_tokens": 50, "choices": 2, "hides_input": False},
    ),
    "content with underscores": (
        f"{GEMINI}:streamGenerateContent",
        {
            "contents": CONTENTS,
            "system_instruction": TEXT,
            "generation_config": {"max_output_tokens": 9, "maxOutputTokens": 5, "candidate_count": 3},
        },
        200,
        {"max_output_tokens": 9, "choices": 3},
    ),
    "content that is cached": (f"{GEMINI}:generateContent", {"cachedContent": "c"}, 0, {"hides_input": True}),
    "content that is searched": (
        f"{GEMINI}:generateContent",
        {"tools": [{"googleSearch": {}}]},
        0,
        {"hides_input": True},
    ),
    "pictures": (
        "/v1beta/models/imagen-4.0-generate-001:predict",
        {"instances": [{"prompt": TEXT}], "parameters": {"sampleCount": "2", "negativePrompt": TEXT}},
        100,
        {"model": "imagen-4.0-generate-001", "max_output_tokens": 0, "provider": "google"},
    ),
    "a decision": (
        "/v1beta/decisions",
        {
            "model": "models/m",
            "input": [{"type": "text", "text": TEXT}],
            "questions": {"q": {"type": "noul", "instructions": TEXT}},
        },
        200,
        {"model": "m", "hides_input": False},
    ),
    "an interaction": (
        "/v1beta/interactions",
        {
            "model": "gemini-3.8-flash",
            "input": [{"type": "text", "text": TEXT}, {"type": "image", "data": "A" * 9_000, "mime_type": "image/png"}],
            "system_instruction": TEXT,
            "tools": [{"type": "function", "name": "f", "description": TEXT}],
            "response_format": {"type": "text", "schema": {"x": TEXT}},
            "generation_config": {"max_output_tokens": 9, "maxOutputTokens": 5},
            "webhook_config": {"uris": [TEXT]},
        },
        1_420,
        {"model": "gemini-3.8-flash", "max_output_tokens": 9, "hides_input": False, "output_unit": UsageClass.OUTPUT},
    ),
    "an interaction that goes on from another": (
        "/v1beta/interactions",
        {"previousInteractionId": "v1_x", "input": TEXT, "background": "yes"},
        100,
        {"hides_input": True, "is_unseen": True},
    ),
    "an interaction that draws": (
        "/v1beta/interactions",
        {"model": "m", "input": "x", "responseFormat": [{"type": "text"}, {"type": "image"}]},
        0,
        {"output_unit": UsageClass.OUTPUT_IMAGE, "expected_output_tokens": 1_290},
    ),
    "an interaction with an agent": (
        "/v1beta/interactions",
        {"model": "m", "agent": "deep-research-max-preview-04-2026", "input": "x"},
        900_000,
        {
            "model": "m",
            "other_models": ("deep-research-max-preview-04-2026",),
            "hides_input": True,
            "expected_output_tokens": 80_000,
        },
    ),
    "content that is an image": (
        f"{GEMINI}:generateContent",
        {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}},
        0,
        {"output_unit": UsageClass.OUTPUT_IMAGE, "expected_output_tokens": 1_290},
    ),
    "content of any kind": (
        f"{GEMINI}:generateContent",
        {"contents": CONTENTS},
        100,
        {"output_unit": UsageClass.OUTPUT_IMAGE, "expected_output_tokens": None},
    ),
    "content that is text": (
        f"{GEMINI}:generateContent",
        {"generationConfig": {"response_modalities": ["TEXT"]}},
        0,
        {"output_unit": UsageClass.OUTPUT},
    ),
    "embedded content": (
        f"{GEMINI}:batchEmbedContents",
        {"requests": [{"content": {"parts": [{"text": TEXT}]}}], "generationConfig": {"maxOutputTokens": 5}},
        100,
        {"max_output_tokens": 0},
    ),
    "rerank": (
        "/v2/rerank",
        {"model": "rerank-v3.5", "query": TEXT, "documents": [TEXT, {"text": TEXT}]},
        300,
        {"max_output_tokens": 0},
    ),
    "ollama chat": (
        "/api/chat",
        {"model": "m", "messages": MESSAGES, "options": {"num_predict": 9}},
        100,
        {"max_output_tokens": 9},
    ),
    "ollama without end": (
        "/api/generate",
        {"prompt": TEXT, "options": {"num_predict": -1}},
        100,
        {"max_output_tokens": None},
    ),
    "ollama context": ("/api/generate", {"prompt": TEXT, "context": [1] * 50}, 150, {}),
    "ollama images": (
        "/api/chat",
        {"messages": [{"role": "user", "content": TEXT, "images": ["A" * 9_000]}]},
        100 + 1_844,
        {},
    ),
    "ollama embeddings": ("/api/embed", {"input": [TEXT]}, 100, {"max_output_tokens": 0}),
    "old ollama embeddings": ("/api/embeddings", {"prompt": TEXT}, 100, {"max_output_tokens": 0}),
    "bedrock converse": (
        f"{BEDROCK}/converse",
        {"messages": [{"content": [{"text": TEXT}]}], "inferenceConfig": {"maxTokens": 9}},
        100,
        {"model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "provider": "aws", "max_output_tokens": 9},
    ),
    "bedrock claude": (f"{BEDROCK}/invoke", {"messages": MESSAGES, "max_tokens": 9}, 100, {"max_output_tokens": 9}),
    "bedrock titan": (
        f"{BEDROCK}/invoke",
        {"inputText": TEXT, "textGenerationConfig": {"maxTokenCount": 9}},
        100,
        {"max_output_tokens": 9},
    ),
    "bedrock llama": (f"{BEDROCK}/invoke", {"prompt": TEXT, "max_gen_len": 9}, 100, {"max_output_tokens": 9}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(name):
    path, body, tokens, facts = REQUESTS[name]
    n_bytes = 100_000 if isinstance(body, Form) else None
    ask = read(path, body, n_bytes)
    assert tokens <= ask.input.input_tokens <= tokens + 40
    assert ask.input.input_tokens <= ask.worst_input.input_tokens
    assert {fact: getattr(ask, fact) for fact in facts} == facts


@pytest.mark.parametrize(
    ("path", "body", "counts"),
    [
        ("/v1/audio/speech", {"input": "größe"}, {"characters": 5}),
        ("/v1/audio/transcriptions", Form(file=[FILE, FILE]), {"audio_ms": 20_000, "input_audio_tokens": 200}),
        ("/v1/audio/transcriptions", {"file": "not a form"}, {"audio_ms": 60_000}),
        ("/v1/images/generations", {"n": 4}, {"images": 4}),
        ("/v1/rerank", {"documents": ["x"] * 101}, {"rerank_searches": 2}),
        ("/v1/rerank", {"query": "x"}, {"rerank_searches": 1}),
    ],
)
def test_what_is_not_counted_in_tokens(path, body, counts):
    ask = read(path, body, n_bytes=100_000)
    assert {name: getattr(ask.input, name) for name in counts} == counts
    assert all(getattr(ask.worst_input, name) >= count for name, count in counts.items())


@pytest.mark.parametrize("path", ["/v1/rerank", "/model/cohere.rerank-v3-5:0/invoke"])
def test_a_long_document_may_count_as_many_wherever_it_is_ranked(path):
    ask = read(path, {"query": "x", "documents": ["x"]}, n_bytes=60_000)
    assert (ask.input.rerank_searches, ask.worst_input.rerank_searches) == (1, 2)


HOSTILE = [-100_000, "abc", True, 1.5, [], {}, float("nan"), 0]
MAXIMA = [
    ("/v1/completions", ["max_tokens"]),
    ("/v1/completions", ["best_of"]),
    ("/v1/responses", ["max_output_tokens"]),
    ("/v1/messages", ["max_tokens"]),
    ("/v1/images/generations", ["n"]),
    (f"{GEMINI}:generateContent", ["generationConfig", "maxOutputTokens"]),
    (f"{GEMINI}:generateContent", ["generation_config", "candidate_count"]),
    ("/api/chat", ["options", "num_predict"]),
    (f"{BEDROCK}/converse", ["inferenceConfig", "maxTokens"]),
    (f"{BEDROCK}/invoke", ["max_gen_len"]),
]


@pytest.mark.parametrize(("path", "fields"), MAXIMA)
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_f28_hostile_numbers(path, fields, value):
    body = value
    for field in reversed(fields):
        body = {field: body}
    with pytest.raises(BadRequestError, match=rf"^{fields[-1]} must be a whole number"):
        read(path, body)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/images/generations", f"{GEMINI}:generateContent"])
def test_f28_a_million_choices(path):
    for body in ({"n": 10**6}, {"generationConfig": {"candidateCount": 10**6}}):
        try:
            assert read(path, body).choices == 1, "the field of another API"
        except BadRequestError:
            continue


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [UNREADABLE, None, [], "x", 7])
def test_what_is_no_object_counts_by_its_length(path, body):
    ask = read(path, body, n_bytes=4_000)
    assert (ask.input.input_tokens, ask.worst_input.input_tokens) == (1_000, 4_000)
    assert isinstance(ask, Ask)


def test_the_files_of_a_form_are_no_text_at_worst():
    body = Form(prompt="x", image=[File(90_000, b"")])
    ask = OpenAIImages().read_request(body, path="/v1/images/edits", n_bytes=90_200)
    assert ask.worst_input.input_tokens == 200 + 48_169


def test_names_are_unique():
    assert len(BY_NAME) == len(APIS) == len({api.name for api in APIS})
