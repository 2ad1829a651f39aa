"""The calls of a session that have ended: a server that tells an end twice has not answered twice."""

from typing import Final

from budget_middleware.apis.protocol.session_events import ServerEvent, Step

_REMEMBERED: Final = 4_096  # More than a session of hours has; of one that has more, the latest.


class EndedCalls:
    """Their ids, until they begin again. One without an id is never among them."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, id_: str) -> None:
        """One has ended."""
        if id_:
            self._ids[id_] = None
            if len(self._ids) > _REMEMBERED:
                del self._ids[next(iter(self._ids))]

    def discard(self, id_: str) -> None:
        """One has begun again: some servers have the same id for all."""
        self._ids.pop(id_, None)

    def told_once(self, event: ServerEvent) -> ServerEvent | None:
        """An event; None for an end that was told before. It is remembered what ends, and what begins again."""
        if event.step is Step.BEGINS:
            self.discard(event.call_id)
        elif event.step is Step.ENDS:
            if event.call_id in self:
                return None
            self.add(event.call_id)
        return event
