"""What most APIs have in common: JSON in, JSON out, and streams that report their usage unasked."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from budget_middleware.apis.bodies.extra_body import DROPPED, EXTRA, as_sent_on
from budget_middleware.apis.bodies.reading import (
    UNREADABLE,
    PartialBody,
    largest_count,
    mapping_of,
    may_be_true,
    name_in,
    parse_body,
)
from budget_middleware.apis.counting.input import MAY_HOLD_TEXT, Count, count_input
from budget_middleware.apis.counting.media import GPT_4O_MINI_MEDIA, OPENAI_MEDIA, MediaRules
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.ordinary import OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.model_names import names_of
from budget_middleware.apis.shared.errors import openai_error
from budget_middleware.core.costs.estimate import tokens_from_text_bytes
from budget_middleware.core.costs.pricing import Usage

# Fields of any API that steer a call rather than being sent to the model. What is not among them counts as text.
_UNSENT_FIELDS: Final = """
    model models user user_id metadata stream stream_options service_tier serviceTier safety_identifier
    prompt_cache_key prompt_cache_retention prompt_cache_options reasoning_effort reasoning thinking verbosity
    modalities audio voice tool_choice function_call parallel_tool_calls logit_bias logprobs top_logprobs stop
    stop_sequences stop_token_ids seed store include include[] truncation conversation previous_response_id background
    deferred encoding_format dimensions quality size style timestamp_granularities timestamp_granularities[] language
    chunking_strategy extra_headers provider plugins route transforms fallbacks tags guardrails num_retries timeout
    api_key api_base api_version inference_geo betas anthropic_version anthropic_beta mcp_servers container
    context_management speed safetySettings safety_settings generationConfig generation_config toolConfig tool_config
    labels cachedContent cached_content taskType task_type input_type truncate embedding_types options keep_alive think
"""
UNSENT_FIELDS: Final = frozenset(_UNSENT_FIELDS.split())


class JsonApi:
    """An API by its paths, the fields that are sent to the model, and what its answers say.

    A subclass names `name`, `provider` and `path`, a pattern of the end of its paths (with a group `model` where
    the model is in them), and has `read_json`.
    """

    name: ClassVar[str]
    provider: ClassVar[str]
    path: ClassVar[re.Pattern[str]]
    media: ClassVar[MediaRules] = OPENAI_MEDIA
    # The fields of a request that are sent to the model and may hold media.
    input_fields: ClassVar[tuple[str, ...]] = ()
    # A request that says yes to this is worked on whether or not anybody waits, and its bill may never be seen.
    unseen_field: ClassVar[str] = ""
    # What nearly every event of a stream is, where there are streams worth reading faster.
    ordinary_event: ClassVar[type[OrdinaryEvent] | None] = None
    # The same of whole answers.
    ordinary_answer: ClassVar[type[OrdinaryEvent] | None] = None

    def matches(self, path: str) -> bool:
        """Whether the path ends as those of this API."""
        return self.path.search(path) is not None

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """Read a request; a body that is no object counts by its length."""
        if body is UNREADABLE or not isinstance(body, dict):
            named = names_of({}, path=path, query=query, pattern=self.path)
            return Ask(
                model=named.model,
                other_models=named.others,
                input=Usage(input_tokens=tokens_from_text_bytes(n_bytes), **self.unread_units(n_bytes)),
                worst_input=Usage(input_tokens=n_bytes, **self.unread_units(n_bytes)),
                # It may be compressed, or longer than was read.
                hides_input=True,
            )
        sent = as_sent_on(body) if EXTRA in body or DROPPED in body else body
        ask = self.read_ask(sent, path=path, n_bytes=n_bytes)
        ask.model, ask.other_models, ask.maybe_models = names_of(body, path=path, query=query, pattern=self.path)
        if isinstance(body, PartialBody):
            return replace(
                ask,
                input=replace(ask.input, input_tokens=tokens_from_text_bytes(n_bytes)),
                worst_input=replace(ask.worst_input, input_tokens=n_bytes),
                hides_input=True,
            )
        return ask

    def unread_units(self, n_bytes: int) -> dict[str, int]:  # noqa: ARG002 - most are billed by tokens alone
        """What a body of so many bytes that was not read is taken for, of units that are no tokens."""
        return {}

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:  # noqa: ARG002 - some look at it
        """Read the object of a request of so many bytes."""
        count = self.count(body)
        expected, at_worst = count.usages(n_bytes)
        return Ask(
            service_tier=name_in(body, "service_tier") if "service_tier" in body else None,
            input=expected,
            worst_input=at_worst,
            hides_input=count.hides_input,
            caches_for_an_hour=count.caches_for_an_hour,
            texts=tuple(count.texts),
            max_output_tokens=self.max_output_tokens(body),
            thinking_tokens=self.thinking_tokens(body),
            choices=self.choices(body),
            is_unseen=self.unseen_field in body and may_be_true(body[self.unseen_field]),
        )

    def count(self, body: Mapping[str, object]) -> Count:
        """Count what is sent to the model."""
        media, model = self.media, body.get("model")
        if media is OPENAI_MEDIA and isinstance(model, str) and "4o-mini" in model:
            media = GPT_4O_MINI_MEDIA
        return count_input(list(map(body.get, self.input_fields)), media, texts=self.texts_in(body))

    def texts_in(self, body: Mapping[str, object]) -> list[object]:
        """The values that are text alone: of all fields that are neither input with media nor known as not sent."""
        texts = []
        for field, value in body.items():
            if field not in UNSENT_FIELDS and field not in self.input_fields and type(value) in MAY_HOLD_TEXT:
                texts.append(value)
        return texts

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:  # noqa: ARG002 - most name some
        """The most tokens of one choice, where the request names it."""
        return None

    def thinking_tokens(self, body: Mapping[str, object]) -> int:
        """The budget for thoughts that the request sets, as Anthropic or OpenRouter call it; 0 if there is none."""
        if "thinking" not in body and "reasoning" not in body:
            return 0
        holders = [mapping_of(body[field]) for field in ("thinking", "reasoning") if field in body]
        return max([largest_count(holder, "budget_tokens", "max_tokens") for holder in holders], default=0)

    def choices(self, body: Mapping[str, object]) -> int:  # noqa: ARG002 - most have one
        """How many answers are asked for in one."""
        return 1

    def ask_for_usage(self, raw: bytes, body: object) -> bytes | None:  # noqa: ARG002 - usage comes unasked
        """Nothing is to be asked for."""
        return None

    def read_json(self, document: object, seen: Seen) -> None:
        """Add to `seen` what a whole JSON answer reports."""
        raise NotImplementedError

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002 - none to hide
        """Read an event as if it were an answer, which it is a part of."""
        self.read_json(mapping_of(parse_body(data)), seen)
        return data

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal as OpenAI's errors look, which most gateways imitate."""
        return openai_error(refusal)
