"""How many examples Hypothesis tries, where a test says so itself: a fifth of them in `make test-fast`."""

from hypothesis import settings

_USUAL = 100
"""What Hypothesis tries where nobody says anything."""


def examples(count: int) -> int:
    """So many, scaled as the profile scales those of tests that say nothing."""
    return max(2, count * min(_USUAL, settings().max_examples) // _USUAL)
