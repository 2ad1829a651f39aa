"""Every `BUDGET_*` setting: its default, its meaning, and what is accepted.

Defaults are written as the text that the environment would hold, so that one table serves the parser, the
error messages and the documentation.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from budget_middleware.apis.jobs.realtime_direct import RealtimeDirect, RealtimeGone
from budget_middleware.apis.jobs.webhooks import WEBHOOKS_ACCEPTED
from budget_middleware.core.alerts.plan import ALERTS_ACCEPTED
from budget_middleware.core.costs.charges import OnAbort, OnExpire
from budget_middleware.core.costs.estimate import EstimateBy
from budget_middleware.core.costs.usage import TokensCounted
from budget_middleware.databases.urls import checked_url
from budget_middleware.setting_types import (
    ROUTES_ACCEPTED,
    TRACE_URL_ACCEPTED,
    Accounts,
    AdminToken,
    Alerts,
    ExhaustedStatus,
    Flag,
    HeaderName,
    Limits,
    LiteLLMPrices,
    Mode,
    OnLimit,
    OnStoreError,
    OptionalFile,
    OptionalFolder,
    Priority,
    RouteRule,
    Routes,
    Seconds,
    ShardBy,
    SpansPer,
    Spreads,
    StoreCheck,
    StoreUrl,
    Switch,
    TraceContext,
    TraceUrl,
    UnknownModelPrice,
    Unmetered,
    Webhooks,
    Zone,
)
from budget_middleware.stores.sharded.shard_map import SHARD_BY_ACCEPTED

_LEASES_REMEMBERED = 10  # So that the last retry of a slow owner still finds the answer to its first.
PREFIX = "BUDGET_"


class SettingsError(ValueError):
    """A setting that cannot be used, in one line: the variable, its value (no secret's), what is accepted."""


def _setting(default: str, meaning: str, accepted: str, **checks: Any) -> Any:
    return Field(default, description=meaning, json_schema_extra={"accepted": accepted}, **checks)


def _number(default: str, meaning: str, unit: str, low: float, high: int) -> Any:
    return _setting(default, meaning, f"{unit} from {low} to {high}", ge=low, le=high)


class Settings(BaseModel):
    """The settings of one middleware, made by `settings_loading.load`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)

    store_url: StoreUrl = _setting(
        "sqlite:///budget.db",
        "Where counters and reservations live: a file for one machine, a server for several; memory:// is for tests.",
        "sqlite:///PATH, memory://, postgresql://USER:PASSWORD@HOST:PORT/NAME, redis://HOST:PORT/DB,"
        " redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB,"
        " redis+cluster://HOST:PORT,HOST:PORT, unix:///PATH; with TLS rediss in place of redis",
        repr=False,
    )
    namespace: str = _setting(
        "budget",
        "Prefix of every key in the store.",
        "1 to 64 characters of A-Z a-z 0-9 . _ : / ~ -",
        pattern=r"^[A-Za-z0-9._:/~-]{1,64}$",
    )
    shard_by: ShardBy = _setting(
        "",
        "Accounts below one subject of this kind live together on one of several shards of the store.",
        SHARD_BY_ACCEPTED,
    )
    store_timeout_s: Seconds = _number(
        "0.5", "How long a call of the store may stay without an answer.", "seconds", 0.001, 60
    )
    replicas: int = _number(
        "0", "How many Redis replicas must have a write before it counts; fewer: the store is away.", "replicas", 0, 10
    )
    on_store_error: OnStoreError = _setting(
        "local",
        "While the store gives no answer: go on by the worker's own figures, serve everything, or answer 503.",
        "local, open, closed",
    )
    store_check: StoreCheck = _setting(
        "warn", "If the store lacks what is needed at start-up: warn, or do not start.", "warn, fail, off"
    )
    max_waiting: int = _number(
        "10000", "How many requests of a worker wait for the store at once; more get 503.", "requests", 1, 10_000_000
    )
    wait_s: Seconds = _number(
        "0",
        "How long a request waits for budget that others hold before it is refused; 0: not at all.",
        "seconds",
        0,
        3600,
    )
    wait_max: int = _number(
        "1000",
        "How many requests of a worker wait for budget at once; more are refused without waiting.",
        "requests",
        1,
        1_000_000,
    )
    priority: Priority = _setting(
        "", "Request header with a whole number: of those who wait for budget, the highest comes first.", "header:NAME"
    )
    limits: Limits = _setting(
        "",
        "How much each account may spend in a period.",
        "ACCOUNT=AMOUNT[UNIT]/PERIOD[!MODE] by ';', or @/PATH of a file of them",
    )
    accounts: Accounts = _setting(
        "key=token",
        "Where a request says who pays, for each kind of account.",
        "KIND=SOURCE by ';', alternatives by '|'",
    )
    accounts_file: OptionalFile = _setting(
        "", "TOML: which team and user a key belongs to; reread when it changes.", "the path of a file"
    )
    known_keys_only: Flag = _setting(
        "0", "1: all keys that neither the accounts file nor accounts_source knows share one account, key:-.", "0, 1"
    )
    spool_max: int = _number(
        "10000",
        "How many endings wait while the store gives no answer; more are lost, and logged.",
        "endings",
        1,
        10_000_000,
    )
    spool_path: OptionalFolder = _setting(
        "", "Folder where endings that wait for the store survive their process.", "the path of a folder"
    )
    drain_timeout_s: Seconds = _number(
        "10", "How long a shutdown waits for requests in flight and for their endings.", "seconds", 0, 3600
    )
    max_hold_s: Seconds = _number(
        "21600", "The longest life of a hold; then it is ended as BUDGET_ON_ABORT says.", "seconds", 0.1, 2592000
    )
    idle_hold_s: Seconds = _number(
        "600",
        "How long a request waits for a client that takes or sends nothing; then its hold is ended in the same way.",
        "seconds",
        0.1,
        2592000,
    )
    mode: Mode = _setting("enforce", "shadow: record what would be refused, refuse nothing.", "enforce, shadow, off")
    timezone: Zone = _setting(
        "UTC",
        "The time zone in which days, weeks, months and years begin.",
        "a name of the IANA time zone database, such as Europe/Berlin",
    )
    prices: OptionalFile = _setting(
        "", "Own prices over the built-in book: TOML, or a JSON price map.", "the path of a file"
    )
    litellm_prices: LiteLLMPrices = _setting(
        "auto",
        "Put LiteLLM's price map before the built-in book: if LiteLLM is imported, if it is installed, or never.",
        "auto, installed, off",
    )
    unknown_model: UnknownModelPrice = _setting(
        "reject", "What a model without a price costs.", "reject, free, IN/OUT in USD per million tokens"
    )
    estimate: EstimateBy = _setting(
        "learned",
        "What a request holds: what answers usually come to, what a fixed rule expects, or an upper bound.",
        "learned, expected, worst",
    )
    estimate_spread: Spreads = _number(
        "2", "With BUDGET_ESTIMATE=learned: how many spreads above the mean a request holds.", "spreads", 0, 10
    )
    clamp: Switch = _setting(
        "off",
        "on: a request's maximum of output tokens is lowered to what is left of its tightest limit.",
        "on, off",
    )
    last_cent: Switch = _setting(
        "off",
        "on: if an account has nothing else held, it is enough that what is left covers the expected cost.",
        "on, off",
    )
    on_limit: OnLimit = _setting(
        "pass",
        "stop: a stream that outgrows its hold, and by that a limit, is ended by its API's own error.",
        "pass, stop",
    )
    default_output_tokens: int = _number(
        "1024",
        "Output expected before a model's answers are known; with BUDGET_ESTIMATE=expected, where no maximum is named.",
        "tokens",
        1,
        10_000_000,
    )
    tokens: TokensCounted = _setting(
        "all",
        "Which tokens count against limits of tokens; uncached: not those that were read from a cache.",
        "all, uncached",
    )
    lease_s: Seconds = _number(
        "60", "How long a reservation lives without a heartbeat; one is sent every third of it.", "seconds", 0.1, 86400
    )
    remember_s: int = _number(
        "3600",
        "How long the store remembers a reservation that has ended.",
        "seconds, at least ten leases,",
        1,
        2592000,
    )
    retention_days: int = _number("35", "How long a counter outlives its window and its last change.", "days", 1, 3650)
    journal_max: int = _number("100000", "How many journal entries are kept.", "entries", 1, 100_000_000)
    history_url: Annotated[str, AfterValidator(checked_url)] = _setting(
        "",
        "Database to which each journal entry is copied, for reports and restore.",
        "sqlite:///PATH, postgresql://USER:PASSWORD@HOST:PORT/NAME",
        repr=False,
    )
    history_days: int = _number("400", "How long the history keeps an entry.", "days", 1, 36500)
    on_abort: OnAbort = _setting(
        "partial",
        "What is booked when output had begun and client, app or task broke off.",
        "partial, input, full, release, drain",
    )
    job_estimate_usd: float = _number(
        "1", "What a job holds whose cost cannot be estimated, as when its file is not known.", "USD", 1e-06, 1000000
    )
    job_deadline_s: Seconds = _number(
        "172800",
        "How long the hold of a job waits for its usage; then it is booked as BUDGET_ON_ABORT says.",
        "seconds",
        60,
        5184000,
    )
    webhooks: Webhooks = _setting(
        "",
        "Paths at which providers' webhooks arrive, with the secrets that sign them.",
        WEBHOOKS_ACCEPTED,
        repr=False,
    )
    on_expire: OnExpire = _setting(
        "release",
        "What a reservation books when its lease runs out, until its late ending comes.",
        "release, input, estimate",
    )
    cost_header: HeaderName = _setting(
        "x-litellm-response-cost",
        "Response header with the gateway's own cost in USD, which counts before tokens.",
        "a header name",
    )
    routes: Routes = _setting("", "Routes to meter beside the built-in ones, and routes not to meter.", ROUTES_ACCEPTED)
    unmetered: Unmetered = _setting(
        "pass", "POSTs and WebSocket handshakes on no known route: served, or answered 403.", "pass, refuse"
    )
    realtime_direct: RealtimeDirect = _setting(
        "refuse",
        "Realtime sessions around the gateway (secrets, WebRTC): answered 403, or held at their ceiling.",
        "refuse, hold",
    )
    realtime_direct_s: Seconds = _number(
        "3600",
        "How long a realtime session around the gateway is expected to last: it holds what that costs.",
        "seconds",
        1,
        86400,
    )
    realtime_gone: RealtimeGone = _setting(
        "unproven",
        "What a hang-up proves that the provider answers by 404: nothing, or that the call has ended.",
        "unproven, ended",
    )
    max_body_bytes: int = _number(
        "10000000",
        "A longer request is estimated from its length; of a longer JSON answer only the usage is read.",
        "bytes",
        1,
        1_000_000_000,
    )
    max_bodies_bytes: int = _number(
        "256000000",
        "All request bodies together that a worker has read and the app has not taken yet; beyond that 503.",
        "bytes",
        1,
        100_000_000_000,
    )
    body_timeout_s: Seconds = _number(
        "60",
        "How long a request body may stall, and how long it may take for each megabyte; beyond that 408.",
        "seconds",
        0.1,
        86400,
    )
    exhausted_status: ExhaustedStatus = _setting("429", "Status of a refusal.", "429, 402")
    headers: Switch = _setting("on", "off: send no x-budget-* headers.", "on, off")
    trace_context: TraceContext = _setting(
        "parent",
        "What a caller's traceparent becomes: the parent of our spans, a link on them, or nothing.",
        "parent, link, ignore",
    )
    spans: SpansPer = _setting(
        "counter",
        "What gets a span: each change of a counter, or each verb, with the changes as its events.",
        "counter, verb",
    )
    trace_url: TraceUrl = _setting("", "The address of a trace, for the links that journal prints.", TRACE_URL_ACCEPTED)
    hash_secret: SecretStr = _setting("", "Secret with which API keys are hashed.", "any text")
    alerts: Alerts = _setting(
        "",
        "Who is alerted to thresholds, fast spending, old holds, drift and outages, and to which of them.",
        ALERTS_ACCEPTED,
        repr=False,
    )
    admin_token: AdminToken = _setting(
        "",
        "Bearer token of the admin API and dashboard, which exist only when one is set.",
        "visible ASCII characters, no spaces",
    )
    admin_read_token: AdminToken = _setting(
        "",
        "Bearer token that may read the admin API and dashboard, and change nothing.",
        "visible ASCII characters, no spaces",
    )
    admin_path: str = _setting(
        "/budget",
        "Where the admin API and dashboard are.",
        "a path such as /budget, without a trailing slash",
        pattern=r"^(/[A-Za-z0-9._~-]+)+$",
    )

    @property
    def route_rules(self) -> tuple[RouteRule, ...]:
        """The rules of routes; webhooks are answered by the app, and are never metered nor refused."""
        return (*[RouteRule(path, api=None) for path, _ in self.webhooks], *self.routes)

    @property
    def has_admin_token(self) -> bool:
        """Whether there is an admin API for those who have a token."""
        return bool(self.admin_token.get_secret_value() or self.admin_read_token.get_secret_value())

    @property
    def lease_ms(self) -> int:
        """The lease in whole milliseconds, as stores and ledgers take it."""
        return round(self.lease_s * 1000)

    @model_validator(mode="after")
    def _outlives_leases(self) -> Self:
        least_s = self.lease_s * _LEASES_REMEMBERED
        if self.remember_s < least_s:
            raise ValueError(
                f"BUDGET_REMEMBER_S='{self.remember_s}': accepted: at least ten leases"
                f" of BUDGET_LEASE_S='{self.lease_s:g}', {least_s:g} or more"
            )
        return self

    @model_validator(mode="after")
    def _stops_what_grows(self) -> Self:
        if self.on_limit is OnLimit.STOP and self.estimate is EstimateBy.EXPECTED:
            raise ValueError(
                "BUDGET_ON_LIMIT='stop': accepted: with BUDGET_ESTIMATE=learned, or worst;"
                " a hold by the fixed rule does not grow, so that nothing would be stopped"
            )
        return self

    @model_validator(mode="after")
    def _has_two_admin_tokens(self) -> Self:
        if self.has_admin_token and self.admin_token == self.admin_read_token:
            raise ValueError(
                "BUDGET_ADMIN_READ_TOKEN: accepted: another text than BUDGET_ADMIN_TOKEN, which may change everything"
            )
        return self


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """One row of the documentation: the variable, its default as text, what is accepted, what it means."""

    variable: str
    default: str
    accepted: str
    meaning: str


def setting_docs() -> tuple[SettingDoc, ...]:
    """Every setting, in the order in which the documentation lists them."""
    return tuple(
        SettingDoc(PREFIX + name.upper(), field.default, accepted_values(name), field.description or "")
        for name, field in Settings.model_fields.items()
    )


def accepted_values(name: str) -> str:
    """What a setting may be, in words."""
    extra = Settings.model_fields[name].json_schema_extra
    return str(extra["accepted"]) if isinstance(extra, dict) else ""
