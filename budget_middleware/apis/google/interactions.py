"""Gemini's interactions: a model or an agent, whole, streamed as typed events, or worked out in the background.

Theory of operation. An agent (`agent`, in the place of a `model`) calls a model many times, searches and reads, and its
request shows nothing of that. So it is held at what Google says that a run of it comes to, and booked by its usage,
which counts the whole run. In the background an answer has no usage: later ones about the interaction have it
(`request.jobs.background`). An interaction does not say that it is in the background; its request does.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from budget_middleware.apis.bodies.reading import id_in, largest, list_of, mapping_of, name_in, parse_body
from budget_middleware.apis.counting.input import utf8_bytes
from budget_middleware.apis.counting.media import GEMINI_MEDIA
from budget_middleware.apis.google.fields import bare_model, both, configs_of, has_any, values_of
from budget_middleware.apis.google.gemini import IMAGE_TOKENS
from budget_middleware.apis.google.steps import read_interaction_usage, read_step
from budget_middleware.apis.google.usage import take_input_as_whole, tier_name
from budget_middleware.apis.protocol.base import Ask, DeclaredTool, Refusal
from budget_middleware.apis.protocol.ordinary import EventPart, FailureFields, OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.errors import interaction_error
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.tools import declared_tools
from budget_middleware.core.costs.outcome import Finish
from budget_middleware.core.costs.usage import UsageClass

_LAST: Final = ("interaction.completed", "interaction.complete", "interaction.cancelled", "interaction.canceled")
_PIECES: Final = ("step.start", "step.delta", "content.start", "content.delta")
_RUNNING: Final = ("in_progress", "queued")
_CUT_SHORT: Final = ("incomplete", "budget_exceeded", "requires_continuation")
# What Google keeps, and puts before the input.
_STORED_INPUT: Final = ("previousInteractionId", "continuationToken", "cachedContent", "environment")
_STEERING: Final = frozenset(
    spelling
    for name in (
        *("previousInteractionId", "continuationToken", "responseModalities", "responseMimeType", "webhookConfig"),
        *("agent", "agentConfig"),
    )
    for spelling in both(name)
)
_OUTPUT_UNITS: Final = {
    "VIDEO": UsageClass.OUTPUT_VIDEO,
    "AUDIO": UsageClass.OUTPUT_AUDIO,
    "IMAGE": UsageClass.OUTPUT_IMAGE,
    "TEXT": UsageClass.OUTPUT,
    # Models that draw do so unless told otherwise; all others have no price for it but that of text.
    "": UsageClass.OUTPUT_IMAGE,
}


class AgentRun(NamedTuple):
    """What a run of an agent comes to, of whose input half is read from a cache."""

    input_tokens: int
    output_tokens: int
    searches: int


# As Google says (ai.google.dev/gemini-api/docs/deep-research, estimated costs): of its research agent, and of the one
# that looks further. Of others it only says that most runs take 100,000 to 3 million tokens.
_RESEARCH: Final = AgentRun(250_000, 60_000, 80)
_LONG_RESEARCH: Final = AgentRun(900_000, 80_000, 160)
_ANY_RUN: Final = AgentRun(900_000, 80_000, 0)


class _Text(EventPart, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


class StepDelta(OrdinaryEvent, FailureFields, kw_only=True):
    """The ordinary event: a piece of text."""

    event_type: Literal["step.delta", "content.delta"]
    delta: _Text
    type: None = None
    object: None = None
    metadata: None = None
    usage: None = None
    interaction: None = None
    interaction_id: None = None

    def add_to(self, seen: Seen) -> None:
        """Add the text."""
        seen.take_text(utf8_bytes(self.delta.text))


class GeminiInteractions(JsonApi):
    """`POST …/interactions`, of the Gemini API and of Vertex AI."""

    name = "gemini-interactions"
    provider = "gcp.gemini"
    path = ends_in("/interactions")
    media = GEMINI_MEDIA
    input_fields = ("input",)
    ordinary_event = StepDelta
    unseen_field = "background"

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """Read a request; the model of an agent is the agent, and what its configuration names."""
        ask = super().read_request(body, path=path, n_bytes=n_bytes, query=query)
        fields = mapping_of(body)
        configs = map(mapping_of, values_of(fields, "agentConfig"))
        agents = [id_in(fields, "agent"), *(id_in(config, "model") for config in configs)]
        names = tuple(dict.fromkeys(bare_model(name) for name in (ask.model, *agents) if name))
        return replace(ask, model=names[0], other_models=(*ask.other_models, *names[1:])) if names else ask

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request; one that goes on from another interaction has more input than it shows."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        modality = _modality(body)
        ask = replace(
            ask,
            service_tier=tier_name(name_in(body, "serviceTier") or name_in(body, "service_tier")),
            hides_input=ask.hides_input or _hides_input(body),
            expected_output_tokens=IMAGE_TOKENS if modality == "IMAGE" else None,
            output_unit=_OUTPUT_UNITS[modality],
            tools=declared_tools(body),
        )
        return _with_run(ask, str(body["agent"])) if body.get("agent") is not None else ask

    def texts_in(self, body: Mapping[str, object]) -> list[object]:
        """All that is not known to steer the call, such as instructions, tools and the schema of the answer."""
        return super().texts_in({name: value for name, value in body.items() if name not in _STEERING})

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The maximum of the answer, which includes its thoughts."""
        named = [largest(config, *both("maxOutputTokens")) for config in configs_of(body)]
        return max(filter(None, named), default=None)

    def read_json(self, document: object, seen: Seen) -> None:
        """Read an interaction. One that is still worked on reports nothing yet, and may cost what was estimated."""
        interaction = mapping_of(document)
        steps = interaction.get("steps", interaction.get("outputs"))
        if isinstance(steps, list):
            seen.take_text(sum(read_step(mapping_of(step), seen) for step in steps))
        _read(interaction, seen)
        seen.continues_unread |= _is_running(interaction)

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002 - it comes unasked
        """Read a typed event: text as it comes, the usage with the interaction's end."""
        event = mapping_of(parse_body(data))
        kind, interaction = event.get("event_type"), mapping_of(event.get("interaction"))
        if kind in _PIECES:
            piece = event.get("delta") or event.get("step") or event.get("content")
            seen.take_text(read_step(mapping_of(piece), seen))
        _read_end(event, seen)
        if id_ := name_in(event, "interaction_id"):
            seen.job = seen.stored = self.name, id_
        if interaction:
            _read(interaction, seen)
        read_interaction_usage(mapping_of(mapping_of(event.get("metadata")).get("total_usage")), seen)
        if kind in _LAST:
            seen.terminal = True
            _read_what_came_whole(interaction, seen)
        # In the background it is worked on whether or not anybody reads: what was read is not what it costs.
        seen.continues_unread = seen.in_background and seen.job is not None and not seen.terminal
        return data

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal as the errors of interactions look."""
        return interaction_error(refusal)


def _modality(body: Mapping[str, object]) -> str:
    """What is asked for, of what costs most where it is several; "" where nothing is said."""
    named = {str(name).upper() for names in values_of(body, "responseModalities") for name in list_of(names)}
    for form in values_of(body, "responseFormat"):
        named |= {str(each.get("type")).upper() for each in map(mapping_of, form if isinstance(form, list) else [form])}
    return next((name for name in _OUTPUT_UNITS if name in named), "")


def _hides_input(body: Mapping[str, object]) -> bool:
    """Whether there is input that Google keeps, or that its tools fetch."""
    tools = map(mapping_of, list_of(body.get("tools")))
    return has_any(body, *_STORED_INPUT) or any(tool.get("type") != "function" for tool in tools)


def _with_run(ask: Ask, agent: str) -> Ask:
    """The request with what its agent is expected to do for it."""
    run = _ANY_RUN
    if "deep-research" in agent:
        run = _LONG_RESEARCH if "max" in agent else _RESEARCH
    input_tokens, cached = ask.input.input_tokens + run.input_tokens, run.input_tokens // 2
    tools = {tool.unit: tool for tool in ask.tools}
    if run.searches:
        tools[UsageClass.WEB_SEARCH] = DeclaredTool(UsageClass.WEB_SEARCH, run.searches, run.searches)
    worst = ask.worst_input
    return replace(
        ask,
        input=replace(ask.input, input_tokens=input_tokens, cached_input_tokens=cached),
        worst_input=replace(worst, input_tokens=worst.input_tokens + run.input_tokens),
        hides_input=True,
        expected_output_tokens=run.output_tokens,
        tools=tuple(tools.values()),
    )


def _is_running(interaction: Mapping[str, object]) -> bool:
    return str(interaction.get("status")).lower() in _RUNNING


def _read(interaction: Mapping[str, object], seen: Seen) -> None:
    """Read what an interaction says of itself."""
    seen.service_tier = tier_name(name_in(interaction, "service_tier")) or seen.service_tier
    seen.take_model(name_in(interaction, "model") or name_in(interaction, "agent"))
    if id_ := id_in(interaction, "id"):
        seen.job = seen.stored = GeminiInteractions.name, id_
    _read_end(interaction, seen)


def _read_end(holder: Mapping[str, object], seen: Seen) -> None:
    """Read how it stands with an interaction, by itself or by an event about it, and what it has used until then."""
    read_failure(holder, seen)
    status = holder.get("status")
    seen.take_reason(status)
    if status in _CUT_SHORT:
        seen.take_finish(Finish.TRUNCATED)
    read_interaction_usage(mapping_of(holder.get("usage")), seen)
    take_input_as_whole(seen)


def _read_what_came_whole(interaction: Mapping[str, object], seen: Seen) -> None:
    """Where no usage reports the output, and not all of it came in pieces, count what the end of the stream repeats."""
    if seen.usage is None:
        n_bytes = sum(read_step(mapping_of(step), seen) for step in list_of(interaction.get("steps")))
        seen.take_text_up_to(n_bytes)
