"""The handle through which an app reports costs that its answer does not show."""

from decimal import Decimal

from budget_middleware.core.costs.pricing import Usage, cost_nanos
from budget_middleware.core.costs.usage import TokensCounted, tokens_of
from budget_middleware.core.money import MAX_NANOS, nanos_from_usd
from budget_middleware.prices import PriceBook


class BudgetHandle:
    """One reservation, as the code that it pays for sees it: its id, and what to book besides the answer.

    Usable from any thread. What is added before the ending is booked however the request ends. Once the ending has
    begun nothing can be added any more, and trying raises RuntimeError.
    """

    def __init__(
        self, reservation_id: str, prices: PriceBook, *, tokens_counted: TokensCounted = TokensCounted.ALL
    ) -> None:
        self.reservation_id = reservation_id
        self._prices = prices
        self._tokens_counted = tokens_counted
        # Nano-dollars and tokens. Appended to, because that is atomic and a sum is not.
        self._added: list[tuple[int, int]] = []
        self._has_ended = False

    def add_usage(self, model: str, **counts: int) -> None:
        """Book a call of a model at the price book's rates; `counts` are those of `Usage`, such as `input_tokens`.

        ValueError for a model without a price, and for a count that is no whole number of 0 or more.
        """
        for name, count in counts.items():
            if type(count) is not int or count < 0:
                raise ValueError(f"{name}={count!r}: accepted is a whole number of 0 or more")
        rates = self._prices.resolve(model)
        if rates is None:
            raise ValueError(f"the model {model!r} has no price here; add_cost books an amount")
        usage = Usage(**counts)
        self._add(cost_nanos(rates, usage), tokens_of(usage, self._tokens_counted))

    def add_cost(self, usd: str | int | Decimal) -> None:
        """Book an amount in USD, as exact decimal text; ValueError for anything else and for less than 0."""
        nanos = nanos_from_usd(usd)
        if nanos < 0:
            raise ValueError(f"{usd!r}: a cost is 0 or more")
        self._add(nanos, 0)

    def _add(self, nanos: int, tokens: int) -> None:
        if self._has_ended:
            raise RuntimeError(f"reservation {self.reservation_id} has ended; nothing can be added to it")
        self._added.append((nanos, tokens))

    @property
    def added_nanos(self) -> int:
        """What was added so far, in nano-dollars."""
        return min(sum([nanos for nanos, _ in self._added]), MAX_NANOS)

    @property
    def added_tokens(self) -> int:
        """The tokens of the calls that were added so far."""
        return min(sum([tokens for _, tokens in self._added]), MAX_NANOS)

    def end(self) -> int:
        """What was added, in nano-dollars, from when on nothing can be."""
        self._has_ended = True
        # Most add nothing.
        return self.added_nanos if self._added else 0
