"""Opens a wire for a store URL: connects, logs in, chooses the database."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import hiredis
from redis.asyncio.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import RedisError

from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.errors import StoreUnavailable, WrongServer
from budget_middleware.stores.redis.url_options import check_options
from budget_middleware.stores.redis.wire import Silence, Wire
from budget_middleware.stores.redis.wrong_server import Fault, fault_in, fault_of_role, wrong_server

DEFAULT_PORT = 6379

_UNTRUSTED = Fault(
    "the server's certificate is not trusted here", "name its authority: BUDGET_STORE_URL=rediss://…?ssl_ca_certs=/PATH"
)


def check_url(url: str) -> None:
    """ValueError, in one line, for a URL that no connection can be made with."""
    check_options(url)
    try:
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]  # It makes one, and that is all.
        options = parse_url(url)
        str(options.get("host", "")).encode("idna")
        if _has_tls(options):
            _tls(options)
    except (TypeError, ValueError, OSError, RedisError) as error:
        # Some of redis-py's words are those of Python for a call: "… got an unexpected keyword argument 'foo'".
        raise ValueError(f"not accepted by the Redis client: {' '.join(str(error).split())}") from None


async def dial(
    url: str, *, time_limit: SharedTimeout, silence: Silence | None = None, must_be_primary: bool = True
) -> Wire:
    """A wire to the server at a URL as redis-py reads it; raises as `bring_up`."""
    silence = silence or Silence()
    wire = Wire(timeout_s=time_limit.timeout_s, silence=silence)
    await bring_up(wire, url, time_limit=time_limit, silence=silence, must_be_primary=must_be_primary)
    return wire


async def bring_up(
    wire: Wire, url: str, *, time_limit: SharedTimeout, silence: Silence, must_be_primary: bool = True
) -> None:
    """Connect a wire and log in. WrongServer where that is no server to work with, StoreUnavailable where there is
    none: not connected within the time-out, or silent for as long after that.
    """
    options: Mapping[str, Any] = parse_url(url)
    try:
        await _connect(wire, options, time_limit, silence)
        # What is asked here is bounded by the wire: from when it is sent.
        await _log_in(wire, options)
        if must_be_primary:
            await _require_primary(wire)
    except WrongServer:
        wire.break_off("it is the wrong server")
        raise
    except ssl.SSLCertVerificationError as error:
        wire.break_off("its certificate is not trusted")
        raise wrong_server(error.verify_message, _UNTRUSTED) from error
    except Exception as error:
        # Whatever it was: there is no connection, and who waits for one must hear of it as of any outage.
        wire.break_off("it could not be used")
        raise StoreUnavailable(f"no connection: {str(error) or type(error).__name__}") from error
    except asyncio.CancelledError:
        wire.break_off("it was not wanted any more")
        raise


async def _connect(wire: Wire, options: Mapping[str, Any], time_limit: SharedTimeout, silence: Silence) -> None:
    try:
        with time_limit.timeout():
            await _connect_to(wire, options)
    except TimeoutError:
        silence.is_on = True
        raise


async def _connect_to(wire: Wire, options: Mapping[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    if options.get("connection_class") is UnixDomainSocketConnection:
        await loop.create_unix_connection(lambda: wire, options["path"])
        return
    address = options.get("host", "localhost"), options.get("port", DEFAULT_PORT)
    # To read certificates takes 30 ms, and each connection does: they may have been renewed.
    tls = await asyncio.to_thread(_tls, options) if _has_tls(options) else None
    await loop.create_connection(lambda: wire, *address, ssl=tls)


def _has_tls(options: Mapping[str, Any]) -> bool:
    return options.get("connection_class") is SSLConnection


def _tls(options: Mapping[str, Any]) -> ssl.SSLContext:
    """The context by the ``ssl_…`` options of the URL, as redis-py makes it."""
    return SSLConnection(
        **{name: value for name, value in options.items() if name != "connection_class"}
    ).ssl_context.get()


async def _log_in(wire: Wire, options: Mapping[str, Any]) -> None:
    if password := options.get("password"):
        username = options.get("username")
        _require(await wire.call("AUTH", *([username] if username else []), password))
    if database := options.get("db"):
        _require(await wire.call("SELECT", str(database)))


async def _require_primary(wire: Wire) -> None:
    if fault := fault_of_role(await wire.call("ROLE")):
        raise wrong_server("ROLE", fault)


def _require(reply: object) -> None:
    if isinstance(reply, hiredis.ReplyError):
        if fault := fault_in(str(reply)):
            raise wrong_server(str(reply), fault)
        raise StoreUnavailable(str(reply))
