"""What this worker learns from answers, and what it hears of others'.

Theory of operation. An answer is appended to the list of its model and to that of its account on the model. Lists are
folded into sums now and then, less often the more answers are known, and the expectation is computed after that: for a
request it is two look-ups. At each heartbeat the worker sends the store what its groups have learnt since the last one,
and takes over the sums that all workers have learnt together. A group that is new here is asked for at the next beat;
until then the model's answers serve, and before those the prior.

    answers ── fold ──> unshared ── heartbeat ──> merged by the store ──> known       expected of: known and unshared

Nothing here may delay or fail a request, and no money hangs on it: after a lost reply the answers of one beat count
twice. A store that has lost what was learnt gets it again from the first worker that notices.
"""

import logging
from collections.abc import Iterable
from itertools import islice
from typing import Final

from budget_middleware.core.costs.learning import (
    NO_ANSWERS,
    AnswerGroup,
    AnswerSeen,
    Expectation,
    Sums,
    expect,
    merge,
    sums_of,
)
from budget_middleware.shared_timeout import SharedTimeout
from budget_middleware.stores.base import LEARNT_AT_ONCE, Store
from budget_middleware.stores.errors import NO_ANSWER

MOST_GROUPS: Final = 10_000
"""So many groups are known in one worker at most; those that were used last stay."""

MOST_WANTED: Final = 1_000
"""So many groups that are new here are asked for at one beat. A client that invents keys fills no more than this."""

_MOST_UNFOLDED: Final = 32
# A mean of many answers is hardly moved by a few.
_ANSWERS_PER_UNFOLDED: Final = 16

_log = logging.getLogger("budget_middleware")


class Learner:
    """What was learnt in one process. Its event loops share it."""

    def __init__(self, store: Store, *, timeout: SharedTimeout) -> None:
        self._store = store
        self._timeout = timeout
        self._groups: dict[tuple[str, str], _Group] = {}
        self._wanted: set[AnswerGroup] = set()
        self._is_sharing = False
        self._has_failed = False

    def expectation(self, group: tuple[str, str], *, prior_tokens: int) -> Expectation:
        """What to expect of the next answer of an account on a model.

        ``group`` is an AnswerGroup, or the plain tuple that equals it and is made in a fifth of the time.
        """
        model = group[0], ""
        of_model = self._groups.get(model) or self._new_group(model)
        of_model.is_active = True
        own = self._groups.get(group)
        if own is None:
            if len(self._wanted) < MOST_WANTED:
                self._wanted.add(AnswerGroup(*group))
            own = of_model
        else:
            own.is_active = True
        expected = own.expectation
        if expected is None or own.prior_tokens != prior_tokens:
            own_sums = NO_ANSWERS if own is of_model else own.sums
            expected = own.expectation = expect(own_sums, of_model.sums, prior_tokens=prior_tokens)
            own.prior_tokens = prior_tokens
        return expected

    def add(self, group: tuple[str, str], seen: AnswerSeen) -> None:
        """Learn from an answer. What goes wrong is logged once, and is nobody's error."""
        try:
            model, account = group
            for each in ((model, ""), group) if account else (group,):
                known = self._groups.get(each) or self._new_group(each)
                known.is_active = True
                known.answers.append(seen)
                if len(known.answers) >= known.fold_at:
                    known.fold()
        except Exception:  # noqa: BLE001 - a request has been served, and is to be booked
            if not self._has_failed:
                self._has_failed = True
                _log.exception("an answer could not be learnt from; further ones are not logged")

    def _new_group(self, group: tuple[str, str]) -> "_Group":
        known = self._groups[group] = _Group()
        if len(self._groups) > MOST_GROUPS:
            self._forget_idle()
        return known

    def _forget_idle(self) -> None:
        """Forget a tenth of the groups: first accounts that were not used since the last beat, models last."""
        # A copy: another event loop's thread may add one meanwhile.
        groups = sorted([*self._groups.items()], key=lambda each: (not each[0][1], each[1].is_active))
        for group, _ in groups[: MOST_GROUPS // 10]:
            self._groups.pop(group, None)

    async def share(self) -> None:
        """Share with other workers what was learnt since the last beat, through the store. It never raises."""
        if self._is_sharing:
            return
        self._is_sharing = True
        wanted, self._wanted = self._wanted, set()
        active = [AnswerGroup(*group) for group, known in list(self._groups.items()) if known.is_active]
        try:
            lost = await self._share_all(dict.fromkeys((*active, *wanted)))
            # What the store has lost, this worker still knows.
            await self._share_all(lost)
        except NO_ANSWER as error:
            _log.debug("what was learnt did not reach the store: %s", error)
        except Exception:  # noqa: BLE001 - the heartbeat has leases to extend
            _log.exception("what was learnt could not be shared")
        finally:
            self._is_sharing = False

    async def _share_all(self, groups: Iterable[AnswerGroup]) -> list[AnswerGroup]:
        """Which of the groups the store had lost."""
        left, lost = iter(groups), list[AnswerGroup]()
        while some := list(islice(left, LEARNT_AT_ONCE)):
            lost += await self._share_some(some)
        return lost

    async def _share_some(self, groups: Iterable[AnswerGroup]) -> list[AnswerGroup]:
        known = {group: self._groups.get(group) for group in groups}
        shared = {group: NO_ANSWERS if each is None else each.begin_sharing() for group, each in known.items()}
        try:
            with self._timeout.timeout():
                merged = await self._store.learn(shared)
        except BaseException:
            for each in known.values():
                if each is not None:
                    each.was_not_shared()
            raise
        return [group for group, each in known.items() if self._was_lost(group, each, merged.get(group))]

    def _was_lost(self, group: AnswerGroup, known: "_Group | None", merged: Sums | None) -> bool:
        """Take over the merged sums; whether the store has lost those of a group that is known here."""
        if merged is None:
            return known is not None and known.was_lost()
        if known is None:
            known = self._groups.get(group) or self._new_group(group)
        known.take_merged(merged)
        return False


class _Group:
    """What is known of one group. ``is_active``: it was used since the last beat.

    ``_known`` is what all workers had learnt then, ``_sharing`` what is on its way to the store, ``_unshared`` what
    this worker has learnt since, but for the ``answers`` that are not folded yet.
    ``fold_at`` is how many these may be.
    """

    __slots__ = ("_known", "_sharing", "_unshared", "answers", "expectation", "fold_at", "is_active", "prior_tokens")

    def __init__(self) -> None:
        self.expectation: Expectation | None = None
        self.prior_tokens = 0
        self.is_active = True
        self.answers: list[AnswerSeen] = []
        self.fold_at = 1
        self._known = self._sharing = self._unshared = NO_ANSWERS

    @property
    def sums(self) -> Sums:
        return merge(merge(self._known, self._sharing), self._unshared)

    def fold(self) -> None:
        """Make sums of the answers that have come."""
        answers, self.answers = self.answers, []
        if answers:
            self._unshared = merge(self._unshared, sums_of(answers))
            self._has_changed()

    def _has_changed(self) -> None:
        self.expectation = None
        n_answers = self._known.answers + self._sharing.answers + self._unshared.answers
        self.fold_at = max(1, min(_MOST_UNFOLDED, int(n_answers / _ANSWERS_PER_UNFOLDED)))

    def begin_sharing(self) -> Sums:
        """What the store is to merge now."""
        self.fold()
        self.is_active = False
        self._sharing, self._unshared = self._unshared, NO_ANSWERS
        return self._sharing

    def was_not_shared(self) -> None:
        """No reply: it is shared at the next beat."""
        self._unshared, self._sharing = merge(self._sharing, self._unshared), NO_ANSWERS
        self.is_active = True

    def take_merged(self, merged: Sums) -> None:
        """The store has it all, and what others have learnt."""
        self._known, self._sharing = merged, NO_ANSWERS
        self._has_changed()

    def was_lost(self) -> bool:
        """The store knew nothing before; whether more is known here, which is shared next."""
        before, self._known, self._sharing = self._known, self._sharing, NO_ANSWERS
        if before.is_sound:
            self._unshared = merge(before, self._unshared)
            self.is_active = True
        return before.is_sound
