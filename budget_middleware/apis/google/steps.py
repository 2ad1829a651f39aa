"""What an interaction of Gemini's has made and used: its steps, whole or as they come, and its usage.

    step     model_output with its content, thought, function_call, google_search_call, ...; what a tool has found is
             input, and so is what the user said
    usage    total_input_tokens, total_output_tokens (without thoughts), total_thought_tokens, ..., and how often
             Google's own tools were used; each one of a stream counts all up to there

The first interactions had `outputs`, parts of content without steps; gateways still write them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.reading import list_of, mapping_of, token_count
from budget_middleware.apis.counting.output import OutputFields
from budget_middleware.apis.google.fields import values_of
from budget_middleware.apis.google.usage import read_gemini_usage
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.usage import UsageClass

_ITEM: Final = OutputFields(
    texts=("text", "summary", "arguments", "name"),
    silent=(
        *("type", "id", "content", "signature", "annotations", "call_id", "index", "server_name", "search_type"),
        *("mime_type", "status", "error", "resolution"),
    ),
)
# What the model was told, beside the results of tools.
_NOT_MADE: Final = ("user_input", "text_annotation_delta", "thought_signature")
_MEDIA: Final = ("image", "audio")
# What its usage calls a count, and what that of `generateContent` does.
_COUNTS: Final = {
    "totalInputTokens": "promptTokenCount",
    "totalOutputTokens": "candidatesTokenCount",
    "totalThoughtTokens": "thoughtsTokenCount",
    # As it was called at first.
    "totalReasoningTokens": "thoughtsTokenCount",
    "totalCachedTokens": "cachedContentTokenCount",
    "totalToolUseTokens": "toolUsePromptTokenCount",
    "totalTokens": "totalTokenCount",
}
_DETAILS: Final = {
    "inputTokensByModality": "promptTokensDetails",
    "outputTokensByModality": "candidatesTokensDetails",
    "cachedTokensByModality": "cacheTokensDetails",
    "toolUseTokensByModality": "toolUsePromptTokensDetails",
}
# There is one for each kind of input or output.
_MOST_DETAILS: Final = 20
_USES: Final = {"google_search": "web_searches", "google_maps": "maps_requests", "retrieval": "file_searches"}


def read_step(step: Mapping[str, object], seen: Seen) -> int:
    """The bytes of text that a step, a part of one, or what a stream adds to it, has made."""
    kind = str(step.get("type"))
    if kind in _NOT_MADE or kind.endswith("_result"):
        return 0
    _take_use(kind, step, seen)
    n_bytes = 0
    content = step.get("content")
    # The delta of a summary has one part, a step a list of them.
    for part in (step, *map(mapping_of, content if isinstance(content, list) else [content])):
        n_bytes += _ITEM.read(part, seen)
        if part.get("type") in _MEDIA:
            seen.media = str(part["type"])
    return n_bytes


def _take_use(kind: str, step: Mapping[str, object], seen: Seen) -> None:
    """Take over the use of a tool that has a fee: each query of a search, and that the request was grounded."""
    if kind == "google_search_call":
        seen.take_use(UsageClass.GROUNDED_REQUEST, "")
        for query in list_of(mapping_of(step.get("arguments")).get("queries")):
            # The text of a query is not kept.
            seen.take_use(UsageClass.WEB_SEARCH, hash(str(query)))
    elif kind == "google_maps_call":
        seen.take_use(UsageClass.MAPS_REQUEST, step.get("id"))
    elif kind in ("file_search_call", "retrieval_call"):
        seen.take_use(UsageClass.FILE_SEARCH, step.get("id"))


def read_interaction_usage(usage: Mapping[str, object], seen: Seen) -> None:
    """Take over a usage, if there is one."""
    if not usage:
        return
    counts: dict[str, object] = {}
    for name, as_metadata in _COUNTS.items():
        counts.update((as_metadata, count) for count in values_of(usage, name))
    for name, as_metadata in _DETAILS.items():
        counts.update((as_metadata, _details(entries)) for entries in values_of(usage, name))
    read_gemini_usage({"usageMetadata": counts}, seen)
    uses = [mapping_of(entry) for entries in values_of(usage, "groundingToolCount") for entry in list_of(entries)]
    used = {_USES[kind]: token_count(use.get("count")) or 0 for use in uses if (kind := str(use.get("type"))) in _USES}
    if used.get("web_searches"):
        used["grounded_requests"] = 1
    if used and seen.usage is not None:
        seen.usage = replace(
            seen.usage, **{name: max(count, getattr(seen.usage, name)) for name, count in used.items()}
        )


def _details(entries: object) -> list[object]:
    """Counts by modality, in the words of `generateContent`."""
    return [
        {"modality": str(entry.get("modality")).upper(), "tokenCount": entry.get("tokens")}
        for entry in map(mapping_of, list_of(entries)[:_MOST_DETAILS])
    ]
