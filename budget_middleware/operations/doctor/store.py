"""Checks the store: whether it answers, whether its records are sound, and the notes of gateways in it."""

import asyncio
from collections.abc import Sequence

from budget_middleware.core.damage import Damage
from budget_middleware.databases.urls import SQLITE, names_postgres, scheme_of
from budget_middleware.history.ledgers import ledger_of
from budget_middleware.opening import fingerprint_of, operators_store_of
from budget_middleware.operations.binding import runtime_rules
from budget_middleware.operations.context import no_answer, require_file
from budget_middleware.operations.doctor.database import database_findings
from budget_middleware.operations.doctor.estimates import growth_finding
from budget_middleware.operations.doctor.file import file_findings
from budget_middleware.operations.doctor.finding import Finding, Health
from budget_middleware.operations.doctor.fingerprints import fingerprint_findings
from budget_middleware.operations.doctor.gateways import note_findings
from budget_middleware.operations.doctor.history import history_findings
from budget_middleware.operations.doctor.journal import journal_findings
from budget_middleware.operations.doctor.server import server_findings
from budget_middleware.operations.doctor.settings import limits_finding
from budget_middleware.operations.doctor.shards import shards_findings
from budget_middleware.operations.doctor.waiting import waiting_findings
from budget_middleware.operations.errors import OperationError
from budget_middleware.operations.repairs import fix_of
from budget_middleware.settings import Settings, SettingsError
from budget_middleware.stores.base import Store
from budget_middleware.stores.errors import StoreRefused, StoreUnavailable, WrongServer
from budget_middleware.stores.journals import journals_of
from budget_middleware.stores.opening import MEMORY_URL
from budget_middleware.stores.sharded.shard_map import MAIN

SHOWN_RECORDS = 20


async def store_findings(settings: Settings) -> list[Finding]:
    """Ask the store that the settings name, and judge its answers."""
    if settings.store_url == MEMORY_URL:
        return await asyncio.to_thread(_memory_findings, settings)
    try:
        require_file(settings)
        store = operators_store_of(settings)
    except SettingsError as error:
        return [Finding("store", Health.FAIL, str(error), "correct it")]
    except OperationError as error:
        return [Finding("store", Health.WARN, str(error), "if no gateway has run yet, start one: it makes the file")]
    records: list[Finding] = []
    try:
        records = _record_findings(await store.damage())
        return await _findings_of(store, settings, records)
    except StoreUnavailable as error:
        return [Finding("store", Health.FAIL, no_answer(settings, error), "start it, or correct BUDGET_STORE_URL")]
    except WrongServer as error:
        return [Finding("store", Health.FAIL, f"{error.cause} ({error.args[0]})", error.fix), *records]
    except StoreRefused as error:
        return [Finding("store", Health.FAIL, f"it refused: {error}", "see records, or audit"), *records]
    finally:
        await store.aclose()


def _memory_findings(settings: Settings) -> list[Finding]:
    return [
        limits_finding(settings, []),
        Finding(
            "store",
            Health.WARN,
            "memory://: every process counts for itself and forgets when it ends",
            "leave BUDGET_STORE_URL out for a file, or set redis://HOST:PORT/DB",
        ),
        Finding("gateway", Health.OK, "models without a price and unmetered routes: see its log"),
    ]


async def _findings_of(store: Store, settings: Settings, records: list[Finding]) -> list[Finding]:
    await store.check()
    runtime = runtime_rules(await store.limits())
    notes = await store.notes()
    head = await store.head()
    neighbours = await store.neighbours() if head.seq == 0 else ()
    own = fingerprint_of(settings)
    findings = fingerprint_findings(own, notes, now_ms=head.now_ms, neighbours=neighbours)
    findings += note_findings(notes, settings)
    journal = await journal_findings(store, journal_max=settings.journal_max)
    # The server of a ledger with shards is that of its main one.
    asked = (await journals_of(store)).get(MAIN, store)
    server = await _server_findings(settings, asked)
    waiting = await waiting_findings(store, settings)
    journals = (await journals_of(store)).items()
    heads = {ledger_of(settings.namespace, name): await each.head() for name, each in journals}
    histories = await asyncio.to_thread(history_findings, settings, heads)
    limits = await asyncio.to_thread(limits_finding, settings, runtime)
    about_journal = [*await shards_findings(settings, store), *journal, *histories, await growth_finding(store)]
    return [limits, *server, *waiting, *records, *about_journal, *findings]


async def _server_findings(settings: Settings, store: Store) -> list[Finding]:
    """What is found where the store keeps its records."""
    if scheme_of(settings.store_url) == SQLITE:
        return await file_findings(settings, store)
    if names_postgres(settings.store_url):
        return await database_findings(settings, store)
    return await server_findings(settings, store)


def _record_findings(damage: Sequence[Damage]) -> list[Finding]:
    findings = [
        Finding("records", Health.FAIL, f"{found.key}: {found.flaw}", fix_of(found)) for found in damage[:SHOWN_RECORDS]
    ]
    if len(damage) > SHOWN_RECORDS:
        findings.append(Finding("records", Health.FAIL, f"{len(damage) - SHOWN_RECORDS} more", "see audit"))
    return findings or [Finding("records", Health.OK, "all are sound")]
