"""A usage by its classes: so many tokens or the like of each unit, every one of them in one class."""

from collections.abc import Mapping

from budget_middleware.core.costs.usage import FIELD_OF_TOOL, Usage, UsageClass

# The counts of a usage that one more of a unit is part of.
COUNTED_IN = {
    UsageClass.INPUT: ("input_tokens",),
    UsageClass.CACHED_INPUT: ("input_tokens", "cached_input_tokens"),
    UsageClass.CACHE_WRITE: ("input_tokens", "cache_write_tokens"),
    UsageClass.CACHE_WRITE_1H: ("input_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    UsageClass.INPUT_AUDIO: ("input_tokens", "input_audio_tokens"),
    UsageClass.CACHED_AUDIO: ("input_tokens", "cached_input_tokens", "input_audio_tokens", "cached_audio_tokens"),
    UsageClass.INPUT_IMAGE: ("input_tokens", "input_image_tokens"),
    UsageClass.CACHED_IMAGE: ("input_tokens", "cached_input_tokens", "input_image_tokens", "cached_image_tokens"),
    UsageClass.INPUT_VIDEO: ("input_tokens", "input_video_tokens"),
    UsageClass.OUTPUT_VIDEO: ("output_tokens", "output_video_tokens"),
    UsageClass.OUTPUT: ("output_tokens",),
    UsageClass.REASONING: ("output_tokens", "reasoning_tokens"),
    UsageClass.OUTPUT_AUDIO: ("output_tokens", "output_audio_tokens"),
    UsageClass.OUTPUT_IMAGE: ("output_tokens", "output_image_tokens"),
    UsageClass.CHARACTER: ("characters",),
    UsageClass.AUDIO_MS: ("audio_ms",),
    UsageClass.IMAGE: ("images",),
    UsageClass.RERANK_SEARCH: ("rerank_searches",),
    UsageClass.CALL: ("calls",),
    UsageClass.VIDEO_MS: ("video_ms",),
    UsageClass.TRAINING: ("training_tokens",),
    UsageClass.TRAINING_MS: ("training_ms",),
    **{unit: (name,) for unit, name in FIELD_OF_TOOL.items()},
}


def usage_of(classes: Mapping[UsageClass, int], *, before: Usage | None = None) -> Usage:
    """The usage with so many of each class, maybe in addition to another one."""
    counts = {name: getattr(before, name) if before else 0 for name in Usage.__struct_fields__}
    for unit, count in classes.items():
        for name in COUNTED_IN[unit]:
            counts[name] += count
    return Usage(**counts)
