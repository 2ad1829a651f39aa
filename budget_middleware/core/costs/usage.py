"""What a call used, and in which units that is billed. Each token is counted in one unit."""

from enum import StrEnum
from operator import attrgetter
from typing import Final

from msgspec import Struct

from budget_middleware.core.fast import FastStrEnum, like_dataclass


@like_dataclass
class Usage(Struct, gc=False):
    """What one call used, no count negative; never changed once it is read.

    `input_tokens` and `output_tokens` include the tokens of their kinds: cached, written to a cache (of these,
    for an hour), audio, images; reasoning. What is not counted in them stands beside them. A model is billed
    for what it has a price for, so one usage may have both characters and tokens, or both how often a tool searched
    and that the request was grounded in what it found.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    cached_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    cached_image_tokens: int = 0
    input_video_tokens: int = 0
    output_image_tokens: int = 0
    output_video_tokens: int = 0
    characters: int = 0
    audio_ms: int = 0
    images: int = 0
    rerank_searches: int = 0
    calls: int = 0
    video_ms: int = 0
    training_tokens: int = 0
    training_ms: int = 0
    web_searches: int = 0
    social_searches: int = 0
    grounded_requests: int = 0
    maps_requests: int = 0
    file_searches: int = 0
    code_containers: int = 0
    code_executions: int = 0


class TokensCounted(StrEnum):
    """Which tokens count against a limit of tokens: all that are billed, or those that no cache was read for."""

    ALL = "all"
    UNCACHED = "uncached"


def tokens_of(usage: Usage, counted: TokensCounted) -> int:
    """The input and the output of a usage. Reasoning, sound and images are in them; so is what a cache was written."""
    tokens = usage.input_tokens + usage.output_tokens
    if counted is TokensCounted.UNCACHED:
        tokens -= min(usage.cached_input_tokens, usage.input_tokens)
    return tokens


class UsageClass(FastStrEnum):
    """What is counted and billed, by the names of the own price file: kinds of tokens, then the rest."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    CACHE_WRITE = "cache_write"
    CACHE_WRITE_1H = "cache_write_1h"
    INPUT_AUDIO = "input_audio"
    CACHED_AUDIO = "cached_audio"
    INPUT_IMAGE = "input_image"
    CACHED_IMAGE = "cached_image"
    INPUT_VIDEO = "input_video"
    OUTPUT = "output"
    REASONING = "reasoning"
    OUTPUT_AUDIO = "output_audio"
    OUTPUT_IMAGE = "output_image"
    OUTPUT_VIDEO = "output_video"
    CHARACTER = "characters"
    AUDIO_MS = "audio_hour"
    IMAGE = "image"
    RERANK_SEARCH = "rerank_search"
    CALL = "call"
    VIDEO_MS = "video_second"
    TRAINING = "training"
    TRAINING_MS = "training_hour"
    WEB_SEARCH = "web_search"
    SOCIAL_SEARCH = "social_search"
    GROUNDED_REQUEST = "grounded_request"
    MAPS_REQUEST = "maps_request"
    FILE_SEARCH = "file_search"
    CODE_CONTAINER = "code_container"
    CODE_EXECUTION = "code_execution"
    REQUEST = "request"


Counts = tuple[tuple[UsageClass, int], ...]

FIELD_OF_TOOL: Final = {
    UsageClass.WEB_SEARCH: "web_searches",
    UsageClass.SOCIAL_SEARCH: "social_searches",
    UsageClass.GROUNDED_REQUEST: "grounded_requests",
    UsageClass.MAPS_REQUEST: "maps_requests",
    UsageClass.FILE_SEARCH: "file_searches",
    UsageClass.CODE_CONTAINER: "code_containers",
    UsageClass.CODE_EXECUTION: "code_executions",
}
"""What the tools of a provider are billed by -> its field of a usage."""
FIELD_BY_PIECE: Final = {
    UsageClass.CHARACTER: "characters",
    UsageClass.AUDIO_MS: "audio_ms",
    UsageClass.IMAGE: "images",
    UsageClass.RERANK_SEARCH: "rerank_searches",
    UsageClass.CALL: "calls",
    UsageClass.VIDEO_MS: "video_ms",
    UsageClass.TRAINING: "training_tokens",
    UsageClass.TRAINING_MS: "training_ms",
    **FIELD_OF_TOOL,
}
"""What is counted beside input and output tokens -> its field of a usage."""
FEES: Final = frozenset({*FIELD_OF_TOOL, UsageClass.REQUEST})
"""What is billed by the use, and costs the same in every region and in every mode that only changes tokens."""

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_INPUT: Final = UsageClass.INPUT
_OUTPUT: Final = UsageClass.OUTPUT
_UNITS_BY_PIECE: Final = tuple(FIELD_BY_PIECE)
_counts_by_piece = attrgetter(*FIELD_BY_PIECE.values())


def counts_of(usage: Usage) -> Counts:
    """How many of each unit a usage comes to. Zeros may be among them."""
    counts: Counts
    if (
        usage.cached_input_tokens
        or usage.cache_write_tokens
        or usage.input_audio_tokens
        or usage.input_image_tokens
        or usage.input_video_tokens
    ):
        counts = _kinds_of_input(usage)
    else:
        counts = ((_INPUT, usage.input_tokens),)
    if usage.reasoning_tokens or usage.output_audio_tokens or usage.output_image_tokens or usage.output_video_tokens:
        counts += _kinds_of_output(usage)
    else:
        counts += ((_OUTPUT, usage.output_tokens),)
    if any(by_piece := _counts_by_piece(usage)):
        counts += tuple(zip(_UNITS_BY_PIECE, by_piece, strict=True))
    return counts


def _kinds_of_input(usage: Usage) -> Counts:
    """Each token in one unit. A part larger than its whole is cut to it, so that no count is negative."""
    whole = usage.input_tokens
    cached = min(usage.cached_input_tokens, whole)
    written = min(usage.cache_write_tokens, whole - cached)
    written_1h = min(usage.cache_write_1h_tokens, written)
    audio = min(usage.input_audio_tokens, whole)
    image = min(usage.input_image_tokens, whole - audio)
    # Tokens beyond the whole were counted both as cached and as media, whether or not anybody says so.
    overlap = max(0, cached + written + audio + image - whole)
    reported_image = min(usage.cached_image_tokens, cached, image)
    cached_audio = min(max(usage.cached_audio_tokens, overlap - reported_image), cached - reported_image, audio)
    cached_image = min(max(reported_image, overlap - cached_audio), cached - cached_audio, image)
    uncached = whole - cached - written
    fresh_audio = min(audio - cached_audio, uncached)
    fresh_image = min(image - cached_image, uncached - fresh_audio)
    # What of a video is read from a cache costs what cached text does: no list has a price of its own for it.
    video = min(usage.input_video_tokens, uncached - fresh_audio - fresh_image)
    return (
        (UsageClass.INPUT, uncached - fresh_audio - fresh_image - video),
        (UsageClass.CACHED_INPUT, cached - cached_audio - cached_image),
        (UsageClass.CACHE_WRITE, written - written_1h),
        (UsageClass.CACHE_WRITE_1H, written_1h),
        (UsageClass.INPUT_AUDIO, fresh_audio),
        (UsageClass.CACHED_AUDIO, cached_audio),
        (UsageClass.INPUT_IMAGE, fresh_image),
        (UsageClass.CACHED_IMAGE, cached_image),
        (UsageClass.INPUT_VIDEO, video),
    )


def _kinds_of_output(usage: Usage) -> Counts:
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    audio = min(usage.output_audio_tokens, usage.output_tokens - reasoning)
    image = min(usage.output_image_tokens, usage.output_tokens - reasoning - audio)
    video = min(usage.output_video_tokens, usage.output_tokens - reasoning - audio - image)
    return (
        (UsageClass.OUTPUT, usage.output_tokens - reasoning - audio - image - video),
        (UsageClass.REASONING, reasoning),
        (UsageClass.OUTPUT_AUDIO, audio),
        (UsageClass.OUTPUT_IMAGE, image),
        (UsageClass.OUTPUT_VIDEO, video),
    )
