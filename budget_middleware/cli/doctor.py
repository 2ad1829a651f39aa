"""`doctor`: what may be wrong with settings, store and telemetry, and what to do about it."""

import asyncio
import logging
import os
import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

from budget_middleware.cli.binding import kinds_of_requests, runtime_rules, told_kinds
from budget_middleware.cli.desk import no_answer, patient_store
from budget_middleware.cli.fingerprints import fingerprint_findings
from budget_middleware.cli.journal_finding import journal_finding
from budget_middleware.cli.output import say, say_json
from budget_middleware.cli.parsing import add_command
from budget_middleware.cli.repairing import fix_of
from budget_middleware.cli.server_checks import Finding, Health, server_findings
from budget_middleware.cli.tracer_finding import tracer_finding
from budget_middleware.core.audit import Damage
from budget_middleware.core.limits import LimitRule, names_no_key
from budget_middleware.ledger.spool_file import refused_in, set_aside_in
from budget_middleware.opening import fingerprint_of
from budget_middleware.prices import load_prices
from budget_middleware.setting_types import Mode, SpansPer, Unmetered
from budget_middleware.settings import Settings, SettingsError, load
from budget_middleware.stores.base import Note, StoreRefused, StoreUnavailable, Topic, WrongServer
from budget_middleware.stores.opening import MEMORY_URL

SHOWN_RECORDS = 20


def add_to(commands: Any) -> None:
    add_command(
        commands,
        "doctor",
        _doctor,
        says="Check settings, store and telemetry and tell how to fix them; exit 1 if a check fails.",
    )


def _doctor(arguments: Namespace) -> int:
    findings = _findings()
    if arguments.json:
        say_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            fix = f"; fix: {finding.fix}" if finding.fix else ""
            say(f"{finding.status:<4}  {finding.check:<11}  {finding.message}{fix}")
    return 1 if any(finding.status is Health.FAIL for finding in findings) else 0


def _findings() -> list[Finding]:
    with _Warnings() as warnings:
        try:
            settings = load()
        except SettingsError as error:
            failed = Finding("settings", Health.FAIL, str(error), "correct it: no gateway starts with it")
            spans, about_settings = SpansPer.COUNTER, [failed]
        else:
            spans, about_settings = settings.spans, _settings_findings(settings)
    return [
        *about_settings,
        *(Finding("variables", Health.WARN, told, "correct its name") for told in warnings.messages),
        tracer_finding(spans, os.environ),
    ]


def _settings_findings(settings: Settings) -> list[Finding]:
    about_store = asyncio.run(_store_findings(settings))
    return [_mode_finding(settings), _prices_finding(settings), *about_store, *_spool_findings(settings)]


class _Warnings(logging.Handler):
    """Collects what reading the settings warns of, instead of stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._log = logging.getLogger("budget_middleware")

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __enter__(self) -> Self:
        self._log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)


# Settings.


def _mode_finding(settings: Settings) -> Finding:
    if settings.mode is Mode.OFF:
        return Finding("settings", Health.WARN, "BUDGET_MODE=off: nothing is metered", "set shadow or enforce")
    if settings.known_keys_only and settings.accounts_file is None:
        told = "BUDGET_KNOWN_KEYS_ONLY=1 without BUDGET_ACCOUNTS_FILE stops the gateway"
        fix = "name the file that knows the keys, unless the gateway's code has an accounts_source"
        return Finding("settings", Health.WARN, told, fix)
    refused = "refuses" if settings.mode is Mode.ENFORCE else "only records what it would refuse"
    return Finding("settings", Health.OK, f"all are accepted; BUDGET_MODE={settings.mode} {refused}")


def _prices_finding(settings: Settings) -> Finding:
    if settings.prices is None:
        return Finding("prices", Health.OK, "the built-in price book, no prices of your own")
    try:
        own = load_prices(settings.prices)
    except ValueError as error:
        return Finding("prices", Health.FAIL, str(error), "correct the file that BUDGET_PRICES names")
    return Finding("prices", Health.OK, f"{len(own)} models of your own in {settings.prices}")


def _limits_finding(settings: Settings, runtime: list[LimitRule]) -> Finding:
    rules = [*settings.limits, *runtime]
    if any(map(names_no_key, rules)):
        # Which one is not told: it may be a token.
        told = "a runtime limit is on a key that is no hash, and never binds"
        fix = "run limit clear --raw-keys, and set it for what key-id tells"
        return Finding("limits", Health.WARN, told, fix)
    try:
        unknown = {kind for rule in rules for kind in rule.kinds} - kinds_of_requests(settings)
    except SettingsError as error:
        return Finding("limits", Health.FAIL, str(error), "correct the file")
    if unknown:
        return Finding(
            "limits",
            Health.WARN,
            f"{told_kinds(sorted(unknown))}: limits on that never bind",
            "add KIND=SOURCE to BUDGET_ACCOUNTS, unless accounts_source in the gateway's code names it",
        )
    if not rules:
        return Finding("limits", Health.WARN, "none: everything is metered, nothing refused", "set BUDGET_LIMITS")
    return Finding("limits", Health.OK, f"{len(settings.limits)} in BUDGET_LIMITS, {len(runtime)} at run time")


# The store.


async def _store_findings(settings: Settings) -> list[Finding]:
    if settings.store_url == MEMORY_URL:
        return [
            _limits_finding(settings, []),
            Finding(
                "store",
                Health.WARN,
                "memory://: every process counts for itself and forgets when it ends",
                "set BUDGET_STORE_URL=redis://HOST:PORT/DB",
            ),
            Finding("gateway", Health.OK, "models without a price and unmetered routes: see its log"),
        ]
    try:
        store = patient_store(settings)
    except SettingsError as error:
        return [Finding("store", Health.FAIL, str(error), "correct it")]
    records: list[Finding] = []
    try:
        records = _record_findings(await store.damage())
        await store.check()
        runtime = runtime_rules(await store.limits())
        notes = await store.notes()
        head = await store.head()
        neighbours = await store.neighbours() if head.seq == 0 else ()
        own = fingerprint_of(settings)
        noted = fingerprint_findings(own, notes, now_ms=head.now_ms, neighbours=neighbours)
        noted += _noted_findings(notes, settings)
        journal = await journal_finding(store, journal_max=settings.journal_max)
        return [_limits_finding(settings, runtime), *await server_findings(settings, store), *records, journal, *noted]
    except StoreUnavailable as error:
        return [Finding("store", Health.FAIL, no_answer(settings, error), "start it, or correct BUDGET_STORE_URL")]
    except WrongServer as error:
        return [Finding("store", Health.FAIL, f"{error.cause} ({error.args[0]})", error.fix), *records]
    except StoreRefused as error:
        return [Finding("store", Health.FAIL, f"it refused: {error}", "see records, or audit"), *records]
    finally:
        await store.aclose()


def _record_findings(damage: Sequence[Damage]) -> list[Finding]:
    findings = [
        Finding("records", Health.FAIL, f"{found.key}: {found.flaw}", fix_of(found)) for found in damage[:SHOWN_RECORDS]
    ]
    if len(damage) > SHOWN_RECORDS:
        findings.append(Finding("records", Health.FAIL, f"{len(damage) - SHOWN_RECORDS} more", "see audit"))
    return findings or [Finding("records", Health.OK, "all are sound")]


def _spool_findings(settings: Settings) -> list[Finding]:
    """Endings that no process may book any more."""
    if settings.spool_path is None:
        return []
    fix = "look for its id in the journal, book it with adjust if it is not there, then delete the file"
    return [
        Finding("spool", Health.WARN, f"{path}: it came too late to be booked", fix)
        for path in set_aside_in(settings.spool_path)
    ] + [
        Finding(
            "spool",
            Health.WARN,
            f"{path}: some lines of it are no endings, and were not booked",
            "look who wrote them, book with adjust what is owed, then delete the file",
        )
        for path in refused_in(settings.spool_path)
    ] or [Finding("spool", Health.OK, f"nothing in {settings.spool_path} came too late to be booked")]


def _noted_findings(notes: Sequence[Note], settings: Settings) -> list[Finding]:
    """What gateways noted in the store since they began to keep it."""
    told = {
        Topic.UNPRICED: (
            "served without a price, booked at 0",
            "price it in BUDGET_PRICES, or set BUDGET_UNKNOWN_MODEL",
        ),
        Topic.USAGE: (
            "a usage contradicts itself, booked at the larger reading",
            "compare with the provider's bill, and have the gateway pass the usage on as it came",
        ),
        Topic.CORS: (
            "refusals carry no CORS headers, a browser takes them for a network error",
            "put CORSMiddleware outside of BudgetMiddleware: in Starlette, add it afterwards",
        ),
    }
    findings = [
        Finding("gateway", Health.WARN, _passed(note.text), "name its API in BUDGET_ROUTES, if it is one")
        if note.topic is Topic.UNMETERED
        else Finding("gateway", Health.WARN, f"{note.text}: {told[note.topic][0]}", told[note.topic][1])
        for note in notes
        if note.topic is Topic.UNMETERED or note.topic in told
    ]
    return [
        *(findings or [Finding("gateway", Health.OK, "no route passed unmetered, no model was unpriced")]),
        _unmetered_finding([note.text for note in notes if note.topic is Topic.UNMETERED], settings),
    ]


def _passed(noted: str) -> str:
    method, path = _method_and_path(noted)
    return f"{path}: {method} passes unmetered"


def _unmetered_finding(noted: Sequence[str], settings: Settings) -> Finding:
    """Whether what nobody meters is refused, and if not, the settings that refuse all but what has passed so far."""
    if settings.unmetered is Unmetered.REFUSE:
        return Finding("unmetered", Health.OK, "BUDGET_UNMETERED=refuse: what is on no known route is answered 403")
    told = "BUDGET_UNMETERED=pass: a request on a route that is not known costs nothing here"
    paths = dict.fromkeys(_method_and_path(text)[1].replace("{id}", "*") for text in noted)
    rules = "; ".join(f"-{path}" for path in paths if re.fullmatch(r"/[^\s=?#;,]+", path) and path.strip("/*"))
    keeping = f" and BUDGET_ROUTES='{rules}', without those that call a model" if rules else ""
    status = Health.WARN if noted else Health.OK
    return Finding("unmetered", status, told, f"set BUDGET_UNMETERED=refuse{keeping}")


def _method_and_path(noted: str) -> tuple[str, str]:
    method, _, path = ("POST", "", noted) if noted.startswith("/") else noted.partition(" ")
    return method, path
