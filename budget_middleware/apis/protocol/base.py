"""What each LLM API says about a call, in one vocabulary."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from budget_middleware.apis.protocol.ordinary import OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.pricing import Usage, UsageClass
from budget_middleware.core.units import Unit


class DeclaredTool(NamedTuple):
    """A tool that the provider may use for a request: what it is billed by, and how often it is used, expected and at
    worst.
    """

    unit: UsageClass
    expected: int = 1
    at_worst: int = 1


@dataclass(slots=True)
class Ask:
    """What a request says of itself: the input it is expected to use, and at worst; the rest is as named in it.

    `provider` is the one of the price book to look at, where the API serves no other. `max_output_tokens` is for each
    choice, and billed as `output_unit`; where it is not named, so much as `expected_output_tokens` may come, or as the
    settings say; `thinking_tokens` of it may be thought, if the request sets such a budget. What its answer says as
    sound is counted while it comes if it `counts_sound`. With `hides_input` there is more input than the request shows,
    such as a stored conversation: it is not expected to count, but at worst fills the model's context window. `texts`
    are those of the input that are not plain ASCII, of which a tokenizer may make more than their bytes. `is_unseen`:
    the work goes on whether or not anybody waits, and what it cost may never be reported. `outlives_client`: it does
    too, at a cost that is known. `continues`: it is a part of what has counted as a request before. `other_models` are
    those that some gateway takes for this request instead of `model`, `maybe_models` what only may be the name of one.
    `modes` are what else may change its price (a region, a size), the general ones first; `tools` those that the
    provider bills by the use.
    """

    model: str | None = None
    provider: str = ""
    service_tier: str | None = None
    input: Usage = field(default_factory=Usage)
    worst_input: Usage = field(default_factory=Usage)
    hides_input: bool = False
    caches_for_an_hour: bool = False
    texts: tuple[str, ...] = field(default=(), repr=False)
    max_output_tokens: int | None = None
    thinking_tokens: int = 0
    expected_output_tokens: int | None = None
    output_unit: UsageClass = UsageClass.OUTPUT
    counts_sound: bool = False
    choices: int = 1
    is_unseen: bool = False
    outlives_client: bool = False
    continues: bool = False
    other_models: tuple[str, ...] = ()
    maybe_models: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    tools: tuple[DeclaredTool, ...] = ()

    @property
    def expected_uses(self) -> tuple[tuple[UsageClass, int], ...]:
        """How often each of the tools is expected to be used."""
        return tuple([(tool.unit, tool.expected) for tool in self.tools])


class Reason(StrEnum):
    """Why a request gets no answer from the gateway."""

    SPENT = "spent"
    HELD = "held"
    # Tokens or requests of a time that is over soon are used up.
    RATE = "rate"
    UNAVAILABLE = "unavailable"
    BUSY = "busy"
    BAD_REQUEST = "bad_request"
    TOO_SLOW = "too_slow"
    AMBIGUOUS_CREDENTIALS = "ambiguous_credentials"
    UNKNOWN_MODEL = "unknown_model"
    UNMETERED = "refused_unmetered"
    MISCONFIGURED = "misconfigured"
    # A stream that had begun has passed a limit.
    STOPPED = "budget_exhausted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that is refused: the HTTP status, why, and one sentence for the client.

    ``unit`` is that of the limit that refused it, ``retry_after_s`` the seconds until a rate has room again, if one
    refused it that ever has room for it.
    """

    status: int
    reason: Reason
    message: str
    unit: Unit = Unit.USD
    retry_after_s: int | None = None


class Api(Protocol):
    """One LLM API: its routes, requests, answers and errors. Every method takes any bytes and any JSON."""

    @property
    def name(self) -> str:
        """The API's name in settings and logs."""
        ...

    @property
    def provider(self) -> str:
        """The `gen_ai.provider.name` of spans."""
        ...

    @property
    def ordinary_event(self) -> type[OrdinaryEvent] | None:
        """What nearly every event of a stream is; None if all take the full reader, `read_event`."""
        ...

    @property
    def ordinary_answer(self) -> type[OrdinaryEvent] | None:
        """What nearly every whole answer is; None if all take the full reader, `read_json`."""
        ...

    def matches(self, path: str) -> bool:
        """Whether a POST to this path is a call of this API, behind any prefix."""
        ...

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:
        """Read a parsed body of so many bytes; an UNREADABLE one counts by its length. The path and the query may name
        a model too. BadRequestError for numbers that allow no estimate and for too many models, and for nothing else.
        """
        ...

    def ask_for_usage(self, raw: bytes, body: object) -> bytes | None:
        """The body that also asks for the usage of its stream; None if there is nothing to change."""
        ...

    def read_json(self, document: object, seen: Seen) -> None:
        """Add to `seen` what a whole JSON answer says."""
        ...

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:
        """Add to `seen` what one event of a stream says; return the data for the client, None for no event.

        With `hide_usage` the client gets no usage that it did not ask for; else the data themselves.
        """
        ...

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """The refusal in the shape that makes this API's SDKs raise their own error."""
        ...
