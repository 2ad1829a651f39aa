"""docs/invariants.md is made from the marks of the tests, and every invariant has more than one proof."""

from tests.invariants import INVARIANTS, PAGE, find_proofs, page


def test_the_page_says_what_the_tests_say():
    assert PAGE.read_text("utf-8") == page(), "write it anew: python -m tests.invariants"


def test_every_invariant_has_several_proofs_and_no_other_is_named():
    proofs = find_proofs()
    assert proofs.keys() == INVARIANTS.keys()
    assert all(len(tests) > 1 for tests in proofs.values()), proofs
