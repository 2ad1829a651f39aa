"""Notes that gateways leave for operators."""

from budget_middleware.stores.notes import Note, Topic


async def test_a_note_is_kept_once_with_its_last_time(store, clock):
    await store.add_note(Topic.UNMETERED, "/v1/a|b/{id}")
    await store.add_note(Topic.UNPRICED, "nobody's model")
    clock.advance(s=60)
    await store.add_note(Topic.UNMETERED, "/v1/a|b/{id}")
    assert await store.notes() == [
        Note(Topic.UNMETERED, "/v1/a|b/{id}", clock()),
        Note(Topic.UNPRICED, "nobody's model", clock() - 60_000),
    ]


async def test_a_note_is_forgotten_in_time(store, clock):
    await store.add_note(Topic.UNPRICED, "old")
    clock.advance(s=35 * 86_400)
    await store.add_note(Topic.UNPRICED, "new")
    assert [note.text for note in await store.notes()] == ["new"]
