"""Check the built site: every page is searchable, and none loads anything from another host."""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
"""What a browser fetches by itself, by the attribute that names it."""

LINKS_THAT_LOAD = {"stylesheet", "preload", "preconnect", "icon", "modulepreload"}


class Page(HTMLParser):
    """What one page loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        address = found.get(LOADED.get(tag, "")) or ""
        if tag == "link" and not LINKS_THAT_LOAD & set((found.get("rel") or "").split()):
            return
        if address.startswith(("http:", "https:", "//")):
            self.foreign.append(address)


def main() -> None:
    """Exit 1 with one line for each fault."""
    site = Path(sys.argv[1])
    faults, pages = [], sorted(site.rglob("*.html"))
    for path in pages:
        page = Page()
        page.feed(path.read_text("utf-8"))
        faults += [f"{path.relative_to(site)} loads {address}" for address in page.foreign]
    indexed = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    names = {entry["location"].partition("#")[0] for entry in indexed}
    missing = {str(path.relative_to(site)) for path in pages} - names - {"404.html"}
    faults += [f"{name} cannot be searched for" for name in sorted(missing)]
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(pages)} pages, {len(indexed)} sections to search; nothing is loaded from another host")


if __name__ == "__main__":
    main()
