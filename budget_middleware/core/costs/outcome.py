"""The outcome of a call, as its answer says. The table of what each outcome books is in docs/money.md.

An HTTP status says little: gateways answer 200 and put the error into the body, providers send it as an event after the
status has gone out, and models are stopped by filters. Each dialect reports what it saw as a `Finish`; this module
turns that into the one outcome that the charge goes by.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Finish(StrEnum):
    """What an answer says of its own end."""

    COMPLETED = "completed"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    FAILED = "failed"
    # It ended with output that the provider keeps to itself, such as a tool call that could not be parsed.
    WITHHELD = "withheld"


class Outcome(StrEnum):
    """What became of a call."""

    COMPLETED = "completed"
    REFUSED = "refused"
    TRUNCATED = "truncated"
    FAILED_BEFORE_OUTPUT = "failed_before_output"
    FAILED_AFTER_OUTPUT = "failed_after_output"
    UNKNOWN = "unknown"


# The reasons that dialects give, in lower case: `finish_reason` (OpenAI, Cohere, Mistral, DeepSeek, Zhipu, OpenRouter),
# `stop_reason` (Anthropic), `stopReason` and `completionReason` (Bedrock), `finishReason` and `blockReason` (Gemini),
# `done_reason` (Ollama), `status` and `incomplete_details.reason` (Responses). What a client can bring about by itself,
# such as `cancelled`, is no failure: the one who cancels pays for what was done until then.
_REASONS: Final = {
    Finish.COMPLETED: """
        stop stop_sequence end_turn tool_use tool_calls tool_call function_call pause_turn complete completed finish
        finished unload load""",
    Finish.TRUNCATED: """
        length max_tokens max_output_tokens model_length model_context_window_exceeded context_length""",
    Finish.REFUSED: """
        refusal content_filter content_filtered guardrail_intervened sensitive safety recitation language blocklist
        prohibited_content spii model_armor jailbreak image_safety image_prohibited_content image_recitation error_toxic
        block_reason_unspecified""",
    Finish.FAILED: """
        error failed network_error error_limit timeout timed_out insufficient_system_resource server_error expired""",
    Finish.WITHHELD: """
        malformed_function_call malformed_model_output malformed_tool_use unexpected_tool_call too_many_tool_calls
        missing_thought_signature malformed_response image_other no_image""",
}
FINISH_OF_REASON: Final = MappingProxyType(
    {reason: finish for finish, reasons in _REASONS.items() for reason in reasons.split()}
)
"""What each reason means, by its name in lower case."""
FINISH_AS_WRITTEN: Final = MappingProxyType(
    {written: finish for reason, finish in FINISH_OF_REASON.items() for written in (reason, reason.upper())}
)
"""The same by its name as answers write it, in lower or in upper case."""

# Python 3.11 takes ten times as long to find the member of an enum as a global.
_FAILED: Final = Finish.FAILED
_REFUSED: Final = Finish.REFUSED
_TRUNCATED: Final = Finish.TRUNCATED
_COMPLETED: Final = Outcome.COMPLETED


def finish_of(reason: object) -> Finish | None:
    """What a reason means, written in lower or in upper case; None for one that is not known."""
    return FINISH_AS_WRITTEN.get(reason) if isinstance(reason, str) else None


def outcome_of(
    finish: Finish | None, *, is_error_status: bool, has_output: bool, is_whole: bool, is_understood: bool
) -> Outcome:
    """The outcome of a call.

    ``is_whole``: the answer came to its own end, nobody cut it off. ``is_understood``: it had the shape of an answer.
    """
    if is_error_status:
        return Outcome.FAILED_BEFORE_OUTPUT
    if finish is _FAILED:
        return Outcome.FAILED_AFTER_OUTPUT if has_output else Outcome.FAILED_BEFORE_OUTPUT
    if finish is _REFUSED:
        return Outcome.REFUSED
    if finish is _TRUNCATED:
        return Outcome.TRUNCATED
    return _COMPLETED if is_whole and is_understood else Outcome.UNKNOWN
