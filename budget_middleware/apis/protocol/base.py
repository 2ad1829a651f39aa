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
    """What a request says of itself."""

    # Who is asked.
    model: str | None = None
    other_models: tuple[str, ...] = ()  # Some gateway takes them for this request instead of the model.
    maybe_models: tuple[str, ...] = ()  # Each may be the name of one, or not.
    provider: str = ""  # The one of the price book to look at, where the API serves no other.
    service_tier: str | None = None
    modes: tuple[str, ...] = ()  # What else may change its price (a region, a size), the general ones first.

    # What it sends.
    input: Usage = field(default_factory=Usage)  # As expected,
    worst_input: Usage = field(default_factory=Usage)  # and at worst.
    # There is more input than it shows, such as a stored conversation: not expected to count, but at worst it fills
    # the model's context window.
    hides_input: bool = False
    caches_for_an_hour: bool = False
    # Texts of the input that are not plain ASCII: a tokenizer may make more tokens of them than they have bytes.
    texts: tuple[str, ...] = field(default=(), repr=False)

    # What may come.
    max_output_tokens: int | None = None  # For each choice.
    thinking_tokens: int = 0  # So many of these may be thought, if it sets such a budget.
    expected_output_tokens: int | None = None  # Where no maximum is named; None: as the settings say.
    output_unit: UsageClass = UsageClass.OUTPUT  # As which output is billed.
    counts_sound: bool = False  # What the answer says as sound is counted while it comes.
    choices: int = 1
    tools: tuple[DeclaredTool, ...] = ()  # Those that the provider bills by the use.

    # How it goes on.
    is_unseen: bool = False  # Whether or not anybody waits, and what it costs may never be reported.
    outlives_client: bool = False  # Whether or not anybody waits, at a cost that is known.
    continues: bool = False  # It is a part of what has counted as a request before.

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
