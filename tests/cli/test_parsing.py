"""Words that stand for values."""

from argparse import ArgumentTypeError

import pytest

from budget_middleware.cli.parsing import percent


def test_a_percentage():
    assert (percent("80%"), percent("80"), percent("0")) == (80, 80, 0)
    for text in ("", "%", "-1", "eighty", "8.5%", "1" * 7):
        with pytest.raises(ArgumentTypeError, match="accepted"):
            percent(text)
