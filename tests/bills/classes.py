"""A usage by its classes: so many tokens or the like of each unit, every one of them in one class."""

from collections.abc import Mapping

from budget_middleware.core.usage import FIELD_OF_TOOL, Unit, Usage

# The counts of a usage that one more of a unit is part of.
COUNTED_IN = {
    Unit.INPUT: ("input_tokens",),
    Unit.CACHED_INPUT: ("input_tokens", "cached_input_tokens"),
    Unit.CACHE_WRITE: ("input_tokens", "cache_write_tokens"),
    Unit.CACHE_WRITE_1H: ("input_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    Unit.INPUT_AUDIO: ("input_tokens", "input_audio_tokens"),
    Unit.CACHED_AUDIO: ("input_tokens", "cached_input_tokens", "input_audio_tokens", "cached_audio_tokens"),
    Unit.INPUT_IMAGE: ("input_tokens", "input_image_tokens"),
    Unit.CACHED_IMAGE: ("input_tokens", "cached_input_tokens", "input_image_tokens", "cached_image_tokens"),
    Unit.INPUT_VIDEO: ("input_tokens", "input_video_tokens"),
    Unit.OUTPUT_VIDEO: ("output_tokens", "output_video_tokens"),
    Unit.OUTPUT: ("output_tokens",),
    Unit.REASONING: ("output_tokens", "reasoning_tokens"),
    Unit.OUTPUT_AUDIO: ("output_tokens", "output_audio_tokens"),
    Unit.OUTPUT_IMAGE: ("output_tokens", "output_image_tokens"),
    Unit.CHARACTER: ("characters",),
    Unit.AUDIO_MS: ("audio_ms",),
    Unit.IMAGE: ("images",),
    Unit.RERANK_SEARCH: ("rerank_searches",),
    **{unit: (name,) for unit, name in FIELD_OF_TOOL.items()},
}


def usage_of(classes: Mapping[Unit, int], *, before: Usage | None = None) -> Usage:
    """The usage with so many of each class, maybe in addition to another one."""
    counts = {name: getattr(before, name) if before else 0 for name in Usage.__slots__}
    for unit, count in classes.items():
        for name in COUNTED_IN[unit]:
            counts[name] += count
    return Usage(**counts)
