"""The parameters of routes, read as the command line reads them. An unknown parameter is an error."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from budget_middleware.core.limits.grammar import parse_amounts
from budget_middleware.core.limits.limits import SlotTerms
from budget_middleware.operations.errors import Confirmation
from budget_middleware.operations.inputs import (
    REASON_CHARS_MAX,
    read_account,
    read_amount,
    read_figure,
    read_pattern,
    read_reason,
    read_subject,
)
from budget_middleware.operations.operators import Operator
from budget_middleware.operations.reasons import reason_by

_NAME_CHARS_MAX: Final = 1_000
PAGE_MAX: Final = 1_000
LIMITS_OF_ONE_MAX: Final = 50


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("accepted is text without control characters, and without those that turn its direction")
    return text


def _checks_only(check: Any) -> AfterValidator:
    def validate(text: str) -> str:
        check(text)
        return text

    return AfterValidator(validate)


def _name(example: str) -> Any:
    """The description has an example; what is accepted, and why not, `operations.inputs` says."""
    return Field(min_length=1, max_length=_NAME_CHARS_MAX, examples=[example])


Account = Annotated[str, _name("team:search"), AfterValidator(read_account)]
Pattern = Annotated[str, _name("key+model:*+gpt-4o"), AfterValidator(read_pattern)]
Subject = Annotated[str, _name("team:search"), AfterValidator(read_subject)]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=REASON_CHARS_MAX, examples=["double booked by a retry, ticket 4711"]),
    AfterValidator(read_reason),
    AfterValidator(_printable),
]
Usd = Annotated[
    str,
    Field(min_length=1, max_length=40, description="USD, such as -5 or 0.25", examples=["-0.25"]),
    _checks_only(read_amount),
]
Amount = Annotated[
    str,
    Field(min_length=1, max_length=40, description="0.25 (USD), 200000tokens or 60requests", examples=["0.25"]),
    _checks_only(read_figure),
]
LimitText = Annotated[str, Field(min_length=1, max_length=200, examples=["10/day"]), _checks_only(parse_amounts)]
Limits = Annotated[
    list[LimitText],
    Field(
        max_length=LIMITS_OF_ONE_MAX,
        description="such as 10/day, 500tokens/minute!soft, 8inflight, none",
        examples=[["10/day", "100/month!soft"]],
    ),
]
Match = Annotated[
    str, Field(max_length=_NAME_CHARS_MAX, description="a text in the account, or a pattern with * and ?")
]
Count = Annotated[int, Field(ge=1, le=PAGE_MAX, description="how many items a page has at most")]
Cursor = Annotated[str, Field(min_length=1, max_length=4_000, description="the next_cursor of the page before")]
Confirmed = Annotated[list[Confirmation], Field(max_length=8, description="what a 409 asked for, as its `needs`")]


class Strict(BaseModel):
    """Parameters or a body of which every name is known."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Change(Strict):
    """What every change needs: why, and what is confirmed."""

    reason: Reason
    confirm: Confirmed = []

    @property
    def is_new(self) -> bool:
        return Confirmation.NEW_ACCOUNT in self.confirm

    @property
    def is_large(self) -> bool:
        return Confirmation.LARGE_AMOUNT in self.confirm

    def reason_of(self, operator: Operator) -> str:
        """As the journal keeps it."""
        return reason_by(operator.name, self.reason)


def limits_of(texts: list[str]) -> SlotTerms:
    """ValueError for texts that contradict each other."""
    return parse_amounts(";".join(texts))
