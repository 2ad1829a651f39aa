"""The disk that workers share for what they owe: it outlives each of them."""

import json
from pathlib import Path


class Disk:
    """``spooled`` are the ids of the endings that lay on it when a process came to its end."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = str(folder or "")
        self.spooled: set[str] = set()

    def note_death(self) -> None:
        """Take note of what any process has left, or would leave now."""
        if not self.folder:
            return
        for path in Path(self.folder).glob("*.owed"):
            owed: set[str] = set()
            for line in path.read_text().splitlines():
                document = json.loads(line)
                if "settled" in document:
                    owed.discard(document["settled"].split()[1])
                else:
                    owed.add(document["id"])
            self.spooled |= owed
