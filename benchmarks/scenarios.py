"""What is compared with what: each comparison is one table, and its ratios are formed within it."""

from dataclasses import dataclass, replace

from benchmarks.answers import CHAT, OF_MANY_KEYS, STREAM, STREAM_WITH_USAGE, Ask


@dataclass(frozen=True, slots=True)
class Scenario:
    """One app under one load, and how a table names it. Where it counts in Redis, that is under its app's name."""

    name: str
    says: str
    app: str
    ask: Ask = CHAT

    @property
    def is_guarded(self) -> bool:
        """Whether the middleware is in front."""
        return "guarded" in self.app or bool(self.namespace)

    @property
    def namespace(self) -> str:
        """Where the middleware counts; empty if it does not, or in memory."""
        app = self.app.partition(":")[2]
        return app if app.startswith(("redis_", "trace_", "frozen_")) else ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Scenarios that take turns, for each number of connections.

    ``bases`` are those to which each is compared; CPU time is told as what is added to that of the first.
    """

    name: str
    title: str
    scenarios: tuple[Scenario, ...]
    bases: tuple[str, ...]
    connections: tuple[int, ...]
    asks_provider: bool = False
    needs_litellm: bool = False


_BARE = Scenario("bare", "the app alone", "benchmarks.apps:bare")
_ONE = Scenario("one_evalsha", "one redis-py EVALSHA", "benchmarks.apps:one_evalsha")
_TWO = Scenario("two_evalsha", "two redis-py EVALSHA", "benchmarks.apps:two_evalsha")
_REDIS_1 = Scenario("redis_1", "guarded, Redis, 1 account", "benchmarks.guarded:redis_1")
_MEMORY = Scenario("memory", "guarded, memory, 3 accounts", "benchmarks.guarded:memory")
_REDIS_3 = Scenario("redis_3", "guarded, Redis, 3 accounts", "benchmarks.guarded:redis_3")
_STREAM_BARE = Scenario("stream_bare", "the app alone", "benchmarks.apps:bare", STREAM)
_STREAM_REDIS = Scenario("stream_redis", "guarded, Redis, 3 accounts", "benchmarks.guarded:redis_3", STREAM)

GUARDED = Comparison(
    "guard",
    "What CI holds to its margins",
    (_BARE, _MEMORY, _TWO, _REDIS_3, _STREAM_BARE, _STREAM_REDIS),
    bases=("bare", "two_evalsha", "stream_bare"),
    connections=(8,),
)
_COMPARISONS = (
    Comparison(
        "json",
        "One-message answers",
        (
            _BARE,
            _ONE,
            _TWO,
            _MEMORY,
            _REDIS_1,
            _REDIS_3,
            Scenario("redis_8", "guarded, Redis, 8 accounts", "benchmarks.guarded:redis_8"),
        ),
        bases=("bare", "one_evalsha", "two_evalsha"),
        connections=(1, 32, 256),
    ),
    Comparison(
        "keys",
        "One key, and each request another",
        (
            replace(_REDIS_3, says="always the same key"),
            replace(_REDIS_3, name="redis_keys", says="each time a new key", ask=OF_MANY_KEYS),
        ),
        bases=("redis_3",),
        connections=(32,),
    ),
    Comparison(
        "streams",
        "Streams of 500 chunks, usage asked for by the guard",
        (_STREAM_BARE, _STREAM_REDIS),
        bases=("stream_bare",),
        connections=(8,),
    ),
    Comparison(
        "streams-usage",
        "Streams of 500 chunks, usage asked for by the client",
        (
            Scenario("usage_bare", "the app alone", "benchmarks.apps:bare", STREAM_WITH_USAGE),
            Scenario("usage_redis", "guarded, Redis, 3 accounts", "benchmarks.guarded:redis_3", STREAM_WITH_USAGE),
        ),
        bases=("usage_bare",),
        connections=(8,),
    ),
    Comparison(
        "frozen",
        "Where the app calls gc.freeze() when it has started, Redis, 3 accounts",
        (
            replace(_REDIS_3, says="as it comes"),
            Scenario("frozen_3", "after gc.freeze()", "benchmarks.guarded:frozen_3"),
        ),
        bases=("redis_3",),
        connections=(32,),
    ),
    Comparison(
        "tracing",
        "Tracing, Redis, 3 accounts",
        (
            replace(_REDIS_3, says="no provider"),
            Scenario("trace_off", "a provider that samples nothing", "benchmarks.guarded:trace_off"),
            Scenario("trace_1pct", "1 % of traces", "benchmarks.guarded:trace_1pct"),
            Scenario("trace_all", "every trace", "benchmarks.guarded:trace_all"),
            Scenario("trace_lean", "every trace, budget_otlp", "benchmarks.guarded:trace_lean"),
            Scenario("trace_verb", "every trace, budget_otlp, BUDGET_SPANS=verb", "benchmarks.guarded:trace_verb"),
        ),
        bases=("redis_3",),
        connections=(32,),
    ),
    Comparison(
        "others",
        "Rate limiters, one limit on one key",
        (
            _BARE,
            _TWO,
            _REDIS_1,
            Scenario("limits_hit", "limits, async Redis, one hit", "benchmarks.rivals:limits_hit"),
            Scenario("slowapi_hit", "slowapi, Redis", "benchmarks.rivals:slowapi_hit"),
        ),
        bases=("bare", "two_evalsha"),
        connections=(32,),
    ),
    Comparison(
        "gateway",
        "A gateway that passes through to a provider, with aiohttp",
        (
            Scenario("gateway_bare", "the gateway alone", "benchmarks.gateway:bare"),
            Scenario("gateway_redis", "guarded, Redis, 3 accounts", "benchmarks.gateway:redis_3"),
        ),
        bases=("gateway_bare",),
        connections=(32,),
        asks_provider=True,
    ),
    Comparison(
        "litellm",
        "The LiteLLM proxy, without database and Redis",
        (
            Scenario("litellm_bare", "LiteLLM alone", "benchmarks.litellm_gateway:bare"),
            Scenario("litellm_redis", "guarded, Redis, 3 accounts", "benchmarks.litellm_gateway:redis_3"),
        ),
        bases=("litellm_bare",),
        connections=(8,),
        asks_provider=True,
        needs_litellm=True,
    ),
)
COMPARISONS = {comparison.name: comparison for comparison in _COMPARISONS}
