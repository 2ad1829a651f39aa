"""What was seen of an answer so far: everything that bookings depend on, in one vocabulary for all APIs."""

import re
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

from budget_middleware.apis.protocol import usage_rules
from budget_middleware.apis.protocol.usage_rules import is_complete
from budget_middleware.core.costs.estimate import BYTES_PER_TOKEN, output_tokens_seen, tokens_from_text_bytes
from budget_middleware.core.costs.outcome import FINISH_AS_WRITTEN, Finish, Outcome, outcome_of
from budget_middleware.core.costs.pricing import Usage, UsageClass

# What the request itself shows, so that its answer need not.
NOT_TOKENS: Final = ("characters", "audio_ms", "images", "rerank_searches")
_not_tokens = attrgetter(*NOT_TOKENS)
# Python 3.11 takes ten times as long to find the member of an enum as a global.
_FAILED: Final = Finish.FAILED
_REFUSED: Final = Finish.REFUSED
MAX_KEY: Final = 100
# Of models that one answer names one after another.
MAX_EARLIER_MODELS: Final = 8
# Of tools, in one answer. Each is reported by a few hundred bytes that no provider sends in larger numbers.
MAX_USES: Final = 2_000
MAX_UNKNOWN_TOOLS: Final = 8
# What is shown to operators must not hold anything else.
TOOL_NAME: Final = re.compile("[a-z][a-z0-9_]{0,39}")


@dataclass(slots=True)
class Seen:
    """What was seen of an answer so far. It only grows while the answer is read."""

    # Set by `take_usage` alone, which believes no figure that cannot be.
    usage: Usage | None = None
    # How much text had been read before that. (Not compared: it may differ between two readings of one answer.)
    usage_text_bytes: int = field(default=0, compare=False)
    # The input's usage as the beginning of a stream reports it, long before the usage of the whole.
    input_usage: Usage | None = None
    # Calls that the usage leaves out, by their model; "" is the one that answered, None the one that was asked.
    extra_calls: tuple[tuple[str | None, Usage], ...] = ()
    model: str | None = None
    # Those that it named before: a gateway may fall back in the midst of a stream.
    earlier_models: tuple[str, ...] = ()
    # The model that answers by the word of a gateway, in a header or beside the answer. It knows better than the answer
    # does, which may name what was asked for.
    served_model: str = field(default="", compare=False)
    # A gateway says that another model than the one that was asked had to answer.
    has_fallen_back: bool = field(default=False, compare=False)
    service_tier: str | None = None
    # What else may change the price; if reported, it overrides what was requested.
    modes: tuple[str, ...] = ()
    # The uses of the provider's tools that were seen: what each is billed by, and what distinguishes it.
    uses: frozenset[tuple[UsageClass, str]] = frozenset()
    # The names of provider tools without a known price.
    unknown_tools: frozenset[str] = frozenset()
    cost_nanos: int | None = None
    text_bytes: int = 0
    chunks: int = 0
    # There is something in it that may cost its input alone: an embedding, a ranking.
    has_results: bool = field(default=False, compare=False)
    # Of such an answer nothing else costs anything, whatever of it was not read.
    costs_input_alone: bool = field(default=False, compare=False)
    # The event that completes the answer has been read; what follows it changes nothing.
    terminal: bool = False
    # All of the text could be read: its length gives the output if no usage does.
    readable: bool = False
    # There was output besides that text: sound, an image, or what is in no field that is known.
    has_unread_output: bool = False
    # Which of these it was, if the answer says so: `image` or `audio`.
    media: str = field(default="", compare=False)
    # A job that goes on after the answer, or has: its kind and its id.
    job: tuple[str, str] | None = field(default=None, compare=False)
    # An answer that its provider keeps, though no job may hang on it: its API and its id.
    stored: tuple[str, str] | None = field(default=None, compare=False)
    # The work goes on even if nobody reads the answer.
    continues_unread: bool = False
    # The request has asked for that, which not every answer repeats.
    in_background: bool = field(default=False, compare=False)
    # What the answer says of its own end.
    finish: Finish | None = field(default=None, compare=False)
    # Why the usage is not sure, and the names of its fields.
    contradiction: str = field(default="", compare=False)
    # The cost comes from one who knows it: then 0 is a cost.
    is_cost_sure: bool = field(default=False, compare=False)
    # A gateway has had it in store, and called nobody.
    is_from_cache: bool = field(default=False, compare=False)
    # A usage in the headers, for an answer that reports none.
    header_usage: Usage | None = field(default=None, compare=False)

    @property
    def output_tokens(self) -> int:
        """The expected tokens of the text read so far. Where there is a `usage`, that is exact."""
        return output_tokens_seen(text_bytes=self.text_bytes, chunks=self.chunks)

    def take_model(self, name: str | None) -> None:
        """Take over the model that the answer names, if it does; what it named before is kept."""
        if not name or name == self.model:
            return
        if self.model and self.model not in self.earlier_models and len(self.earlier_models) < MAX_EARLIER_MODELS:
            self.earlier_models += (self.model,)
        self.model = name

    def take_usage(self, reported: Usage | None, *, contradiction: str = "") -> None:
        """Take over a usage, if there is one and as far as it can be true after those before it.

        ``contradiction``: why it could not be reconciled.
        """
        if reported is not None:
            self.contradiction = contradiction
            self.usage = reported if self.usage is None else usage_rules.latest(self.usage, reported)
            self.usage_text_bytes = self.text_bytes

    def take_cost(self, reported_nanos: int | None, *, is_sure: bool = False) -> None:
        """Take over a cost that the gateway reports, in nano-dollars. One that shrinks, or is 0 after more, is none.

        ``is_sure``: the gateway knows all prices, so that 0 is a cost too.
        """
        if reported_nanos is not None:
            self.is_cost_sure |= is_sure
            self.cost_nanos = max(reported_nanos, self.cost_nanos or 0)

    def take_finish(self, reported: Finish | None) -> None:
        """Take over what the answer says of its end, if it does. No later word makes a failure a success."""
        if reported is None or self.finish is _FAILED:
            return
        self.finish = reported
        # Then there is no output to be read.
        self.readable |= reported is _REFUSED

    def take_reason(self, reason: object) -> None:
        """Take over the reason that the answer gives for its end, if it is one that is known."""
        if isinstance(reason, str) and reason in FINISH_AS_WRITTEN:
            self.take_finish(FINISH_AS_WRITTEN[reason])

    @property
    def has_output(self) -> bool:
        """Whether anything was generated, as far as that was seen or reported."""
        is_reported = self.usage is not None and self.usage.output_tokens > 0
        return is_reported or self.text_bytes > 0 or self.has_unread_output or self.has_results

    @property
    def hides_output(self) -> bool:
        """Whether there was output besides the text that was read."""
        return self.has_unread_output or self.finish is Finish.WITHHELD

    def outcome(self, *, is_error_status: bool, is_whole: bool) -> Outcome:
        """What became of the call. ``is_whole``: nobody cut the answer off."""
        return outcome_of(
            self.finish,
            is_error_status=is_error_status,
            # Looked at where it makes a difference.
            has_output=self.finish is _FAILED and self.has_output,
            is_whole=is_whole,
            is_understood=self.readable or self.usage is not None or self.has_results,
        )

    def whole_usage(self, expected_input: Usage) -> Usage | None:
        """The usage as reported, completed by what the request said: of what is not counted in tokens, and of tokens
        where only something else was reported. None if no usage can be that of the whole.
        """
        has_text = self.text_bytes > 0 or (self.has_unread_output and not self.costs_input_alone)
        has_results = self.has_results or self.has_unread_output
        usage, misses_text = self.usage, self.text_bytes > self.usage_text_bytes
        if usage is None or not is_complete(usage, has_text=has_text, has_results=has_results, misses_text=misses_text):
            # That of the headers counts all of the text.
            usage = self.header_usage
            if usage is None or not is_complete(usage, has_text=has_text, has_results=has_results, misses_text=False):
                return None
        if self.uses:
            usage = usage_rules.with_uses(usage, self.uses)
        if not any(_not_tokens(usage)) and not any(_not_tokens(expected_input)):
            return usage
        reported = [name for name in NOT_TOKENS if getattr(usage, name)]
        if reported and not usage.input_tokens and not usage.output_tokens:
            return replace(expected_input, **{name: getattr(usage, name) for name in reported})
        return replace(usage, **{name: getattr(expected_input, name) for name in NOT_TOKENS if name not in reported})

    def usage_so_far(self, expected_input: Usage) -> Usage:
        """The input, as reported or else as expected, and the output that was reported or read."""
        usage = self.usage
        if usage is None or not usage.output_tokens:
            output_tokens = self.output_tokens
        else:
            output_tokens = usage.output_tokens + tokens_from_text_bytes(self.text_bytes - self.usage_text_bytes)
        if usage is None or not usage.input_tokens:
            sound = {"output_audio_tokens": output_tokens} if self.media == "audio" else {}
            read = replace(self.input_usage or expected_input, output_tokens=output_tokens, **sound)
            return usage_rules.with_uses(read, self.uses)
        units = {name: getattr(usage, name) or getattr(expected_input, name) for name in NOT_TOKENS}
        return usage_rules.with_uses(replace(usage, output_tokens=output_tokens, **units), self.uses)

    def take_use(self, unit: UsageClass, key: object) -> None:
        """Add a use of a tool of the provider. The same key twice is the same use, reported again."""
        if len(self.uses) < MAX_USES:
            self.uses |= {(unit, str(key)[:MAX_KEY])}

    def discard_uses(self, unit: UsageClass) -> None:
        """Forget the uses of a tool that were seen: the usage counts them itself, as the provider bills them."""
        self.uses = frozenset(use for use in self.uses if use[0] is not unit)

    def take_tool(self, name: object) -> None:
        """Note a tool of the provider that is not known here."""
        known_form = isinstance(name, str) and TOOL_NAME.fullmatch(name) is not None
        if len(self.unknown_tools) < MAX_UNKNOWN_TOOLS:
            self.unknown_tools |= {str(name) if known_form else "a tool"}

    def take_sound(self, n_tokens: int) -> None:
        """Add so many tokens of sound, as so much text as makes as many: a long answer outgrows its hold."""
        if n_tokens:
            self.take_text(n_tokens * BYTES_PER_TOKEN)

    def take_text(self, n_bytes: int) -> None:
        """Add so many bytes of generated text, which came in one piece."""
        self.readable = True
        self.text_bytes += n_bytes
        self.chunks += n_bytes > 0

    def take_text_up_to(self, n_bytes: int) -> None:
        """The end of a stream repeats text of so many bytes: count what of it did not come in pieces."""
        if n_bytes > self.text_bytes:
            self.take_text(n_bytes - self.text_bytes)
