"""What a store keeps beside its counters, by rules of its own: facts, texts on shelves, and operators' notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class KeptTexts:
    """Lost and restored together with the store. Nothing is forgotten: all is kept for longer than a simulation."""

    facts: dict[str, str] = field(default_factory=dict)
    shelves: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: set[tuple[str, str]] = field(default_factory=set)

    def check(self, name: str, arguments: Sequence[Any], options: Mapping[str, Any], answer: Any) -> None:
        """Raises AssertionError if the answer is not the right one; else takes in what it means."""
        match name:
            case "keep_fact":
                # The first one stays, whoever comes later.
                assert answer == self.facts.setdefault(*arguments)
            case "kept_facts":
                assert answer == {fact: self.facts[fact] for fact in arguments[0] if fact in self.facts}
            case "texts":
                assert answer == {on: text for (shelf, on), text in self.shelves.items() if shelf == arguments[0]}
            case "swap_text":
                self._swap(tuple(arguments), options["before"], options["after"], is_done=answer)
            case "add_note":
                self.notes.add((arguments[0], arguments[1]))
            case "notes":
                assert self.notes <= {(note.topic, note.text) for note in answer}

    def _swap(self, place: tuple[str, str], before: str | None, after: str | None, *, is_done: bool) -> None:
        assert is_done == (self.shelves.get(place) == before)
        if is_done:
            self.shelves.pop(place, None)
            if after is not None:
                self.shelves[place] = after
