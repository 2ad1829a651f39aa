"""Tools (MCP) and agents (A2A), which are called by JSON-RPC: each call costs what the prices file says.

Theory of operation. A body is one message or a batch of them. A message that is surely free (`tools/list`, a
notification of the protocol, a client's answer to the server) costs nothing; every other one is a call, whatever it
looks like: a method in odd capitals, a message that is no object, a batch within a batch. Servers differ in how they
read what is odd, so a message is free only if it has nothing but the fields of its kind, and one whose fields could be
read in two ways is refused.

    request ── bind ──> RpcCalls: how many calls, of which tools or agents ──> held at the most expensive of them
    answer  ── ids of errors ──> each such call is given back; all others are booked, each at its own price
                                 (see `ids`: an error takes back no call that it may not be about)

If a body cannot be read, nobody knows which tools it calls: each of its calls counts as one of the most expensive tool.
A client that leaves early saves nothing, for the work goes on (MCP says so of tools, A2A's tasks are asked for later).

An answer names a call by its id alone, so what was asked must be remembered: each request has an `RpcCalls` of its own,
made by the `RpcApi` that all requests share. A call is booked unless the server answers it by an error. `isError` in a
result is no such error: the tool has run.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.bounded_json import UNWEIGHED_BYTES
from budget_middleware.apis.bodies.reading import UNREADABLE, mapping_of, parse_body, text_in
from budget_middleware.apis.json_rpc.ids import CallsById
from budget_middleware.apis.json_rpc.messages import Messages
from budget_middleware.apis.json_rpc.protocols import RPC_PROTOCOLS, RpcProtocol
from budget_middleware.apis.protocol.base import Ask, Refusal
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.core.costs.outcome import Finish
from budget_middleware.core.costs.usage import Usage

IsPriced = Callable[[str], bool]

# If a body cannot be read, its length says how many calls it may have: each takes so many bytes at least.
_LEAST_CALL_BYTES: Final = 20
_MOST_NAMES: Final = 16
# JSON-RPC leaves these to servers: not done, for reasons of the server's own.
_REFUSED_CODE: Final = -32_000
_TOO_MANY_REQUESTS: Final = 429


class PricedCalls(NamedTuple):
    """Which calls of a protocol have prices, by their names as models, and which of them are the ``most_expensive``."""

    is_priced: IsPriced
    most_expensive: tuple[str, ...] = ()


class RpcApi:
    """A protocol whose calls have prices. Its requests are read by what `bind` makes for each of them."""

    ordinary_event = None
    ordinary_answer = None

    def __init__(self, rpc: RpcProtocol, priced: PricedCalls) -> None:
        self.name = self.provider = rpc.name
        self._rpc = rpc
        self._priced = priced

    def matches(self, path: str) -> bool:
        return self._rpc.is_at(path)

    def is_shared_at(self, path: str) -> bool:
        """Whether others use this path too, so that the body has to say whether a request is a call (`may_be_rpc`)."""
        return self._rpc.is_shared_at(path)

    def may_be_at(self, path: str) -> bool:
        return self._rpc.may_be_at(path)

    def bind(self, raw: bytes, *, path: str, n_bytes: int) -> "RpcCalls":
        """The dialect of one request and its answer. ``raw`` is empty if the body could not be read."""
        kind = RestCall if self._rpc.rest_path.search(path) is not None else RpcCalls
        return kind(self._rpc, self._priced, raw, path=path, n_bytes=n_bytes)

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:  # noqa: ARG002
        """What a request is at least, for whoever compares readings of a path."""
        return RpcCalls(self._rpc, self._priced, b"", path=path, n_bytes=0).read_request(body, path=path, n_bytes=0)

    def ask_for_usage(self, raw: bytes, body: object) -> bytes | None:  # noqa: ARG002 - there is none
        return None

    def read_json(self, document: object, seen: Seen) -> None:
        """Nothing can be read without the request."""

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002
        return data

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        return rpc_error(refusal, None)


class RpcCalls(RpcApi):
    """The calls of one request. ``is_free``: it has none."""

    def __init__(self, rpc: RpcProtocol, priced: PricedCalls, raw: bytes, *, path: str, n_bytes: int) -> None:
        super().__init__(rpc, priced)
        self._agent = rpc.agent_at(path)
        has_free = rpc.names_call is None or rpc.names_call.search(path) is None
        messages = Messages(raw, is_free=lambda method: has_free and method in rpc.free)
        self._is_unclear = messages.is_unclear
        self._is_alone = messages.is_alone
        self._is_read = messages.is_read
        self._is_long = n_bytes > UNWEIGHED_BYTES  # It may have notifications, which are done and never answered.
        # The models of the calls that are not known to have failed, and those that an answer can name.
        self._models: Counter[str] = Counter()
        self._by_id = CallsById()
        self._id: object = None
        self._n_results = 0
        self._is_rejected = False
        # What a body may call that cannot be read, the most expensive first. An empty one names no tool.
        is_known = self._is_read or not n_bytes or not rpc.has_tools
        self._unread: Sequence[str] = (self._model_of(None),) if is_known else priced.most_expensive
        if self._is_read:
            self._count(messages)
        else:
            self._models[self._unread[0]] = self._most_calls(n_bytes)
        self._asked = self._models.copy()

    def _most_calls(self, n_bytes: int) -> int:
        """How many calls a body that cannot be read may have."""
        return max(1, n_bytes // _LEAST_CALL_BYTES)

    @property
    def is_free(self) -> bool:
        return not self._asked and not self._is_unclear

    def _count(self, messages: Messages) -> None:
        for message in messages.all():
            if message.is_call:
                self._add(message.id, message.tool)
            else:
                self._by_id.add(message.id, None)

    def _add(self, id_: object, tool: str | None) -> None:
        model = self._model_of(tool)
        self._models[model] += 1
        self._id = id_
        self._by_id.add(id_, model)

    def _model_of(self, tool: str | None) -> str:
        """What a call is priced by: the name of its tool or agent if that has a price, else the protocol's."""
        named = tool if self._rpc.has_tools else self._agent
        model = f"{self._rpc.name}/{named}"
        return model if named and self._priced.is_priced(model) else self._rpc.name

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:  # noqa: ARG002
        """So many calls, each held at the most expensive of them."""
        # What is refused passes in shadow mode, and is then asked for as what could not be read.
        refuses = body is not UNREADABLE
        if self._is_unclear and refuses:
            raise BadRequestError("a message has a field twice")
        if len(self._asked) > _MOST_NAMES and refuses:
            raise BadRequestError(f"a batch calls more than {_MOST_NAMES} tools that have prices of their own")
        model, *others = self._asked or {self._rpc.name: 1}
        if not self._is_read:
            others = list(self._unread[1:])
        usage = Usage(calls=self._asked.total())
        return Ask(
            model=model,
            other_models=tuple(others),
            input=usage,
            worst_input=usage,
            max_output_tokens=0,
            outlives_client=True,
        )

    def read_json(self, document: object, seen: Seen) -> None:
        """Read one answer or a batch of them. What is no error leaves its call booked."""
        self._read(document, seen, is_whole=True)

    def _read(self, document: object, seen: Seen, *, is_whole: bool) -> None:
        answers = [mapping_of(each) for each in (document if isinstance(document, list) else [document])]
        answers = [answer for answer in answers if ("result" in answer) != ("error" in answer)]
        for answer in answers:
            if "result" in answer:
                self._n_results += 1
            else:
                self._models -= Counter(self._by_id.take(answer.get("id")))
                self._is_rejected |= answer.get("id") is None and (is_whole or self._is_alone)
        if answers:
            self._report(seen)

    def _report(self, seen: Seen) -> None:
        seen.readable = True
        done = self._models
        if self._is_rejected and not self._n_results:
            # Of the whole body: what has an id would have been answered under that, and what has none is never.
            done = Counter() if self._is_alone else done - Counter(self._by_id.left())
        if not self._is_read:
            n_calls = self._asked.total()
            seen.usage = Usage(calls=n_calls if self._is_long else min(self._n_results, n_calls))
        elif len(self._asked) == 1:
            seen.usage = Usage(calls=done.total())
        else:
            # Each at the price of its own; which one was quoted is not known here.
            seen.usage = Usage()
            seen.extra_calls = tuple((model, Usage(calls=n_calls)) for model, n_calls in done.items())
        seen.finish = None if done else Finish.FAILED

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002
        """An event is an answer, or says how far one is. MCP has one answer for a call, A2A one for each step."""
        event = parse_body(data)
        self._read(event, seen, is_whole=False)
        is_answer = self._is_alone and seen.readable and mapping_of(event).get("id") == self._id
        seen.terminal |= is_answer and self._rpc.has_tools
        return data

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """JSON-RPC's error, for the call if there was one alone."""
        is_one = self._asked.total() == 1
        return rpc_error(refusal, self._id if is_one and isinstance(self._id, str | int | float) else None)


class RestCall(RpcCalls):
    """A request that is one call, whatever its body says: an answer without an error of HTTP has done it."""

    def _count(self, messages: Messages) -> None:
        self._add(None, text_in(mapping_of(messages.document), "name"))

    def _most_calls(self, n_bytes: int) -> int:  # noqa: ARG002
        return 1

    def _read(self, document: object, seen: Seen, *, is_whole: bool) -> None:  # noqa: ARG002
        self._n_results = 1
        self._report(seen)

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """As Google's APIs say it, and with it A2A."""
        data = {"reason": str(refusal.reason)}
        status = "RESOURCE_EXHAUSTED" if refusal.status == _TOO_MANY_REQUESTS else "FAILED_PRECONDITION"
        return {"error": {"code": refusal.status, "status": status, "message": refusal.message, "data": data}}


def rpc_apis(is_priced: IsPriced, priced_calls: Callable[[str], Sequence[str]]) -> Iterator[RpcApi]:
    """The protocols whose calls have a price. ``priced_calls``: the names of a protocol's, the most expensive first."""
    for rpc in RPC_PROTOCOLS:
        if is_priced(rpc.name):
            # A tool without a price of its own costs what the protocol does.
            most_expensive = dict.fromkeys((*priced_calls(rpc.name), rpc.name))
            yield RpcApi(rpc, PricedCalls(is_priced, tuple(most_expensive)[:_MOST_NAMES]))


def rpc_error(refusal: Refusal, id_: object) -> dict[str, object]:
    """The refusal as JSON-RPC's errors look."""
    data = {"reason": str(refusal.reason)}
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": _REFUSED_CODE, "message": refusal.message, "data": data}}
