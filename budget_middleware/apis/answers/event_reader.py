"""Reads the events of a stream, however they came: an ordinary one fast, any other in full."""

from budget_middleware.apis.bodies.bounded_answer import is_heavy, lightened
from budget_middleware.apis.protocol.base import Api
from budget_middleware.apis.protocol.ordinary import OrdinaryReader
from budget_middleware.apis.protocol.seen import Seen


class EventReader:
    """Reads the events of one answer. ``has_cut``: one had so many values that its text was not read."""

    def __init__(self, api: Api) -> None:
        self.ordinary = OrdinaryReader.of(api.ordinary_event) if api.ordinary_event is not None else None
        self.has_cut = False
        self._api = api

    def read(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:
        """Add to `seen` what an event says; what the client gets of it, None for nothing: see `Api.read_event`."""
        ordinary = self.ordinary.read(data) if self.ordinary is not None else None
        if ordinary is not None:
            shown = ordinary.without_usage(data) if hide_usage else data
            if shown is not None:
                ordinary.add_to(seen)
                return shown
        if is_heavy(data):
            # It is passed on as it came, with a usage that the client did not ask for if it holds one.
            self._api.read_event(lightened(data), seen, hide_usage=False)
            self.has_cut = True
            return data
        return self._api.read_event(data, seen, hide_usage=hide_usage)
