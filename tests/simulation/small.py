"""The smallest plan: one worker, one request, nothing goes wrong. Tests replace what they are about."""

from tests.simulation.plan import Client, Plan, Play, Request

REQUEST = Request(
    number=1,
    at_ms=0,
    worker=0,
    key=0,
    play=Play.JSON,
    client=Client.STAYS,
    patience=10**6,
    words=2,
    pause_ms=2,
)
PLAN = Plan(
    seed=0,
    workers=1,
    starts_ms_before_hour=1_800_000,
    on_abort="partial",
    on_expire="estimate",
    on_store_error="open",
    limit_in_estimates=5,
    lease_s=3,
    has_spool=False,
    skews_ms=(0,),
    requests=(REQUEST,),
    events=(),
    house_faults=(),
)
