"""The faults to plant: each is a slip that the tests must find, whoever makes it and wherever it slips in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """``new`` in place of ``old``, which stands once in ``file`` (a path below ``budget_middleware``)."""

    name: str
    file: str
    old: str
    new: str


FAULTS = (
    # Admission.
    Fault(
        "limit is off by one nano-dollar",
        "core/transitions.py",
        "spent + reserved + estimate > limit:",
        "spent + reserved + estimate > limit + 1:",
    ),
    Fault("limit is off by one in Lua", "stores/lua/reserve.lua", "if shortfall > 0 and", "if shortfall > 1 and"),
    Fault(
        "what others hold is not counted",
        "core/transitions.py",
        "spent + reserved + estimate > limit:",
        "spent + estimate > limit:",
    ),
    Fault(
        "held is told as spent",
        "core/model.py",
        "return self.balance.spent + self.estimate <= self.limit",
        "return self.balance.spent + self.estimate < self.limit",
    ),
    Fault(
        "only the first limit binds",
        "stores/lua/reserve.lua",
        "if estimate > 0 and target.limit ~= NO_LIMIT then",
        "if estimate > 0 and target.limit ~= NO_LIMIT and index == 1 then",
    ),
    Fault(
        "a window that is over admits",
        "core/transitions.py",
        "        if not target.window.starts_ms <= now_ms < target.window.ends_ms:\n",
        "        if not target.window.starts_ms <= now_ms <= target.window.ends_ms:\n",
    ),
    Fault(
        "a window that is over admits in Lua",
        "stores/lua/_targets.lua",
        "NOW < target.starts or NOW >= target.ends",
        "NOW < target.starts or NOW > target.ends",
    ),
    Fault(
        "stale limits are ignored",
        "stores/lua/reserve.lua",
        "if version ~= limits_version then return answer(STATUS_STALE_LIMITS) end\n",
        "",
    ),
    Fault(
        "a shadow reserve is refused",
        "core/transitions.py",
        "if rejection is not None and verb.enforce:",
        "if rejection is not None:",
    ),
    # Reservations and their endings.
    Fault(
        "an ending keeps the hold in Lua",
        "stores/lua/_changes.lua",
        "difference(held, held_before)",
        "'0'",
    ),
    Fault(
        "a release forgets to give back",
        "stores/lua/_changes.lua",
        "  record.state, record[field] = state, value\n",
        "  record.state, record[field] = op == OP_RELEASE and record.state or state, value\n",
    ),
    Fault(
        "a late finalize adds to the expiry charge",
        "stores/lua/_changes.lua",
        "difference(booked, booked_before)",
        "booked",
    ),
    Fault(
        "an expiry forgets its charge",
        "core/model.py",
        "            case State.EXPIRED:\n                return self.expiry_charge\n",
        "",
    ),
    Fault(
        "a second finalize is booked",
        "core/transitions.py",
        "(Op.FINALIZE, State.FINALIZED): Status.ALREADY_FINALIZED",
        "(Op.FINALIZE, State.FINALIZED): Status.FINALIZED",
    ),
    Fault(
        "a finalize after a release is booked in Lua",
        "stores/lua/_answer.lua",
        "if known and has_ended(known.state) then",
        "if known and known.state == STATE_FINALIZED then",
    ),
    Fault(
        "an ending of an unknown id is not remembered",
        "stores/lua/_changes.lua",
        "if record.is_new then write_reservation(record) else",
        "if not record.is_new then",
    ),
    Fault(
        "an ending that is too old is booked",
        "core/transitions.py",
        "        if verb.age_ms > remember_ms:\n            return Decision(Status.TOO_OLD)\n        known =",
        "        known =",
    ),
    Fault(
        "an ending books in the windows of its own time",
        "stores/lua/_answer.lua",
        "  local targets = known and known.target_list or {}\n",
        "  local targets = {}\n",
    ),
    Fault(
        "a repeat with another amount is a duplicate",
        "core/transitions.py",
        "return known.asked == verb.asked and _accounts(known.targets)",
        "return _accounts(known.targets)",
    ),
    Fault(
        "an adjust is booked twice",
        "stores/lua/adjust.lua",
        "call('HSET', key, 'targets', packed, 'amount', amount)\n",
        "",
    ),
    Fault(
        "adjustments are not told apart",
        "stores/lua/_changes.lua",
        "if op == OP_ADJUST then increase(",
        "if op == nil then increase(",
    ),
    # What came to nothing.
    Fault(
        "a counter that is back at nothing stays",
        "stores/lua/_counters.lua",
        "if counter.holds == 0 and shows_nothing(counter) then",
        "if false then",
    ),
    Fault(
        "a counter whose spent was credited is dropped",
        "stores/lua/_counters.lua",
        " and counter.adjusted == '0' and",
        " and",
    ),
    Fault(
        "a repaired counter is dropped",
        "stores/lua/_counters.lua",
        " and not counter.repaired\n",
        "\n",
    ),
    Fault(
        "what came to nothing stays in the journal",
        "stores/lua/_journal.lua",
        "    call('ZREM', JOURNAL, reserve)\n",
        "",
    ),
    Fault(
        "what came to nothing is kept without a bound",
        "stores/lua/_journal.lua",
        "  call('ZREMRANGEBYRANK', VOIDED, '0', whole(-VOIDED_MAX - 1))\n",
        "",
    ),
    Fault(
        "bookings are not numbered in a row",
        "stores/lua/_journal.lua",
        "if not books_nothing(status) then bookings",
        "if not is_void then bookings",
    ),
    Fault(
        "drift hides where what came to nothing is missing",
        "core/audit.py",
        "elif entry.bookings_before != before.bookings:",
        "elif entry.seq > before.seq + 1:",
    ),
    # Leases.
    Fault(
        "a lease ends one millisecond late",
        "core/model.py",
        "now_ms >= self.deadline_ms",
        "now_ms > self.deadline_ms",
    ),
    Fault(
        "a stranger's verb renews a lease",
        "stores/lua/_leases.lua",
        "local function expire_due_on(targets)\n",
        "local function expire_due_on(targets)\n"
        "  for _, target in ipairs(targets) do\n"
        "    for _, id in ipairs(call('ZRANGE', target.pending, '0', '-1')) do\n"
        "      local known = find_reservation(id)\n"
        "      local later = whole(NOW + 60000)\n"
        "      if known and tonumber(known.deadline) > NOW then\n"
        "        call('HSET', known.key, 'deadline', later)\n"
        "        call('ZADD', target.pending, later, id)\n"
        "        call('ZADD', LEASES, later, id)\n"
        "      end\n"
        "    end\n"
        "  end\n",
    ),
    Fault(
        "an expired reservation is revived",
        "stores/lua/extend.lua",
        "local known = open(id, '')\n",
        "load_meta()\nlocal known = load_reservation(id)\n",
    ),
    Fault(
        "one call sweeps without a bound",
        "stores/lua/_leases.lua",
        "    if left <= 0 then return end\n",
        "    left = 1000\n",
    ),
    Fault(
        "a sweep says that it is done too early",
        "stores/lua/sweep.lua",
        "#due < tonumber(at_most) and STATUS_EXPIRED or STATUS_LEASES_DUE",
        "STATUS_EXPIRED",
    ),
    Fault(
        "a reserve is refused as held while leases are due",
        "stores/lua/reserve.lua",
        "  if seq > seq_before or leases_due(targets) then return answer(STATUS_LEASES_DUE) end\n",
        "",
    ),
    Fault(
        "a poisoned hold stops the sweep",
        "stores/lua/_leases.lua",
        "elseif pcall(load_counters, due.target_list) then",
        "elseif load_counters(due.target_list) or true then",
    ),
    Fault(
        "an operator's release charges",
        "stores/lua/expire.lua",
        "expire(known, '0', reason)",
        "expire(known, known.charge, reason)",
    ),
    # The journal and what follows from it.
    Fault(
        "a counter changes before it is checked",
        "stores/lua/_counters.lua",
        "        fail('counter ' .. counter.key .. ' is damaged')\n",
        "",
    ),
    Fault(
        "totals are not kept",
        "stores/lua/_changes.lua",
        "redis.pcall('HINCRBY', TOTALS, kinds_of(targets), reserved_delta)",
        "",
    ),
    Fault(
        "totals count an account by its periods",
        "stores/lua/_targets.lua",
        "accounts[#accounts + 1] = target.account end\n    seen[target.account] = true",
        "accounts[#accounts + 1] = target.account end",
    ),
    Fault(
        "a generation is not made anew",
        "stores/lua/_meta.lua",
        "generation = TOKEN\n",
        "generation = 'one'\n",
    ),
    Fault(
        "a journal that is ahead is not continued",
        "stores/lua/_meta.lua",
        "'LIMIT', '0', '1')[1] or not meta[2] then\n",
        "'LIMIT', '0', '1')[1] and last == 0 then\n",
    ),
    Fault(
        "a counter is forgotten while it is held on",
        "stores/lua/_counters.lua",
        "  if counter.holds == 0 then\n",
        "  if true then\n",
    ),
    Fault(
        "a repair does what another did",
        "stores/lua/repair.lua",
        "if repaired_at_seq > tonumber(found_at_seq) then return answer(STATUS_DUPLICATE, nil, {target}) end\n",
        "",
    ),
    Fault(
        "a repair overlooks due holds",
        "stores/lua/repair.lua",
        "ipairs({held, due, {negative(counter.reserved)}})",
        "ipairs({held, {negative(counter.reserved)}})",
    ),
    Fault(
        "any adjust settles a broken chain",
        "core/audit.py",
        "if entry.status is Status.REPAIRED:",
        'if entry.op == "adjust":',
    ),
    # The ledger.
    Fault(
        "an ending is cancelled with its request",
        "ledger/endings.py",
        "        self._tasks.own(self._until_answered(owed), at_end=owed.settle)\n",
        "        task = self._tasks.own(self._until_answered(owed))\n"
        "        owed.settled.add_done_callback(lambda _: task.cancel())\n",
    ),
    Fault(
        "an ending is cancelled with the request that waits for it",
        "ledger/endings.py",
        "            self._go_on_in_task(owed, error, wait)\n            raise\n",
        "            raise\n",
    ),
    Fault(
        "a caller's cancellation is taken for the loop's",
        "ledger/endings.py",
        "is_callers_own, owed.is_last = owed.is_last, False",
        "is_callers_own = owed.is_last",
    ),
    Fault(
        "a store that may hold on is asked in the request's task",
        "ledger/endings.py",
        "        if not self._ends_when_cancelled:\n",
        "        if False:\n",
    ),
    Fault(
        "who waits for an ending waits for its last try",
        "ledger/endings.py",
        "            owed.settle_within(wait.left_s)\n",
        "            pass\n",
    ),
    Fault(
        "who waits for an ending waits for its first try alone",
        "ledger/endings.py",
        "            owed.settle_within(wait.left_s)\n",
        "            owed.settle()\n",
    ),
    Fault(
        "who gives up on a reserve does not release it",
        "ledger/reserving.py",
        '            self._release(hold, "cancelled while reserving")\n',
        "",
    ),
    Fault(
        "a refusal after a lost answer leaves a hold",
        "ledger/reserving.py",
        '            self._release(hold, "refused after a lost answer")\n',
        "            pass\n",
    ),
    Fault(
        "a retry changes the id",
        "ledger/reserving.py",
        "        return Reserve(\n            hold.id,\n",
        "        hold.id = secrets.token_hex(16)\n        return Reserve(\n            hold.id,\n",
    ),
    Fault(
        "windows are chosen by the worker's clock",
        "ledger/monitor.py",
        "return time.time_ns() // 1_000_000 + self._clock_offset_ms",
        "return time.time_ns() // 1_000_000",
    ),
    Fault(
        "a loss of writes goes unnoticed",
        "ledger/monitor.py",
        "found_seq < before.seq and found_seq < seen.seq",
        "found_seq < 0",
    ),
    Fault(
        "a loss is replayed without a bound in time",
        "ledger/endings.py",
        "            if answered.at_s >= since_s:\n",
        "            if True:\n",
    ),
    Fault(
        "a replayed ending is younger than it is",
        "ledger/owed.py",
        "replace(self.ending, age_ms=self._age_ms(),",
        "replace(self.ending, age_ms=0,",
    ),
    Fault(
        "an ending that was answered is not replayed",
        "ledger/endings.py",
        "self._answered.add(",
        "(",
    ),
    Fault(
        "an acknowledgement without entries teaches nothing",
        "ledger/endings.py",
        "                self._calls.monitor.learn_latest(answer)\n",
        "                pass\n",
    ),
    Fault(
        "where nothing could be read nothing is sent again",
        "ledger/monitor.py",
        "            self._may_have_lost = True\n",
        "            pass\n",
    ),
    Fault(
        "what was written since is taken for what was acknowledged",
        "ledger/monitor.py",
        "if not page or page[0].time_ms > now_ms:",
        "if not page:",
    ),
    Fault(
        "the spool is not settled",
        "ledger/endings.py",
        "        self._spool.settle(owed.spooled)\n",
        "",
    ),
    Fault("the spool has no bound", "ledger/spool.py", "if len(self._waiting) >= self._at_most:", "if False:"),
    Fault("an adopted file is adopted again", "ledger/spool_file.py", "path.unlink()\n", "pass\n"),
    Fault(
        "a spool file that others may write is believed",
        "ledger/spool_file.py",
        "    if found.st_mode & _WRITABLE_BY_OTHERS:\n",
        "    if found.st_mode & 0:\n",
    ),
    Fault("a spool file is a link", "ledger/spool_file.py", "os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_RDWR"),
    Fault(
        "a spooled amount may be below 0",
        "ledger/spool_lines.py",
        're.compile(r"[0-9]{1,16}")',
        're.compile(r"-?[0-9]{1,16}")',
    ),
    Fault(
        "fewer accounts are used at once",
        "payers/accounts_file.py",
        "        if not missing:\n",
        "        if True:\n",
    ),
    Fault("a raw token is a key", "core/accounts.py", "subject != ANY and not is_key_subject(subject)", "False"),
    Fault(
        "who was here before with other settings is not told",
        "ledger/settings_watch.py",
        "latest_ms > last_own_ms",
        "latest_ms < last_own_ms",
    ),
    Fault(
        "an amount is compared with its sign",
        "operations/adjustments.py",
        "if abs(amount_nanos) > largest",
        "if amount_nanos > largest",
    ),
    Fault(
        "who comes second to a dead process's file adopts it too",
        "ledger/spool_file.py",
        "                if not os.fstat(left.fileno()).st_nlink:\n                    return []\n",
        "",
    ),
    Fault(
        "what waits on disk is not synced",
        "ledger/spool_file.py",
        "        self._sync.request(file.fileno())\n",
        "",
    ),
    Fault(
        "what came too late is forgotten",
        "ledger/endings.py",
        "            self._spool.set_aside(owed.spooled)\n",
        "            self._spool.settle(owed.spooled)\n",
    ),
    Fault(
        "the breaker never closes",
        "ledger/breaker.py",
        "        self._outages = 0\n        self._answered_s = at_s",
        "        self._answered_s = at_s",
    ),
    Fault("the breaker never opens", "ledger/breaker.py", "        self._outages += 1\n", ""),
    Fault(
        "a connection that breaks opens the breaker",
        "ledger/breaker.py",
        "if began_s <= self._answered_s or began_s < self._failed_s:",
        "if began_s <= self._answered_s:",
    ),
    Fault("the breaker lets everybody probe", "ledger/breaker.py", "        self._probe_at_s = now_s + PROBE_S\n", ""),
    Fault(
        "heartbeats stop at the first that fails",
        "ledger/leases.py",
        "asyncio.gather(*map(self._extend, some), return_exceptions=True)",
        "asyncio.gather(*map(self._extend, some))",
    ),
    Fault(
        "stale limits are not refreshed",
        "ledger/reserving.py",
        "            await self._layers.refresh(version)\n",
        "            pass\n",
    ),
    Fault(
        "a runtime limit comes last",
        "ledger/limit_layers.py",
        "layers=[LimitBook(chain.from_iterable(found)), self._environment]",
        "layers=[self._environment, LimitBook(chain.from_iterable(found))]",
    ),
    Fault(
        "an unprotected hold is left to expire",
        "ledger/reserving.py",
        "            self._leases.keep(hold)\n        # Where only",
        "            pass\n        # Where only",
    ),
    Fault(
        "a lease that ran out is renewed for ever",
        "ledger/leases.py",
        "                if is_kept is False:\n",
        "                if False:\n",
    ),
    Fault(
        "endings do not tell of an outage",
        "ledger/endings.py",
        "            owed.call.report_outage()\n",
        "            pass\n",
    ),
    Fault(
        "limits survive a loss of the store",
        "ledger/parts.py",
        "        self._layers.suspect()\n",
        "",
    ),
    Fault(
        "an admitted repeat forgets where it holds",
        "ledger/reserving.py",
        "            hold.targets = answer.recorded.targets if answer.recorded else hold.targets\n",
        "",
    ),
    Fault(
        "what stood before a silence is not looked for",
        "ledger/monitor.py",
        "            self._doubted.append(self._latest)\n",
        "            pass\n",
    ),
    Fault(
        "a new generation is no loss",
        "ledger/monitor.py",
        "            return bool(seen.generation)\n",
        "            return False\n",
    ),
    Fault(
        "an unprotected answer is not marked",
        "request/admission.py",
        "return Admitted(hold, quote, is_unprotected=True)",
        "return Admitted(hold, quote)",
    ),
    # The wire.
    Fault(
        "a reply that nobody waits for goes to the next",
        "stores/redis/wire.py",
        "                if not waiting.done():\n                    waiting.set_result(reply)\n",
        "                while waiting.done():\n"
        "                    _, waiting = self._waiting.popleft()\n"
        "                waiting.set_result(reply)\n",
    ),
    Fault(
        "a wire that broke is used again",
        "stores/redis/server.py",
        "return wire if wire is not None and wire.is_usable else None",
        "return wire",
    ),
    Fault(
        "who dials is cancelled with its request",
        "stores/redis/server.py",
        "return await asyncio.shield(lines.dialing)",
        "return await lines.dialing",
    ),
    # The request.
    Fault(
        "the answer does not wait for its ending",
        "request/exchange.py",
        "            return await self._settlement.end(end)\n",
        "            self._settlement.begin(end)\n            return None\n",
    ),
    Fault(
        "a body is kept while it is answered",
        "request/body.py",
        'self.text, self.document = b"", UNREADABLE\n',
        'self.text = b""\n',
    ),
    Fault(
        "what a body took is not given back",
        "request/body.py",
        "            self._in_hand.give_back(n_bytes)\n",
        "",
    ),
    Fault(
        "a body may come a byte at a time for ever",
        "request/deadlines.py",
        "min(self._loop.time() + self.timeout_s, self.since_s + latest_s)",
        "self._loop.time() + self.timeout_s",
    ),
    Fault(
        "the cheapest of several models is estimated",
        "request/quote.py",
        "best = max(candidates,",
        "best = min(candidates,",
    ),
    Fault(
        "of two fields of a form the first counts",
        "apis/form.py",
        "    if not isinstance(texts, list) or not isinstance(texts[0], str):\n        raise _repeated(name)\n",
        "    if not isinstance(texts, list) or not isinstance(texts[0], str):\n        return\n",
    ),
    Fault(
        "a compressed body has no bound",
        "apis/inflating.py",
        "            if n_bytes > max_bytes:\n",
        "            if n_bytes < 0:\n",
    ),
    Fault(
        "an escaped quote ends a text",
        "apis/bounded_json.py",
        """.replace(b'\\\\"', b"")""",
        "",
    ),
    Fault(
        "media are looked for in arguments of tools",
        "apis/counting.py",
        "            below.append(child)\n",
        "            stack.append((child,))\n",
    ),
    Fault(
        "a background answer is held at the default",
        "request/quote.py",
        "by=EstimateBy.WORST if ask.is_unseen else by",
        "by=by",
    ),
    Fault(
        "a request ends twice",
        "request/settlement.py",
        "        if self.charge is not None:\n            return None\n",
        "",
    ),
    Fault(
        "an upstream that breaks costs nothing",
        "request/exchange.py",
        "            await self._end(End.CLIENT_GONE if self._is_client_gone else End.BROKEN)\n",
        "            self._settlement.status = 500\n            await self._end(End.BROKEN)\n",
    ),
    Fault(
        "a client that leaves does not end its request",
        "request/exchange.py",
        "        # A client that leaves shows up as an ordinary return without a last message.\n"
        "        await self._end(End.CLIENT_GONE)\n",
        "",
    ),
    Fault(
        "an error answer is charged",
        "request/settlement.py",
        "is_error=self.status >= 300",
        "is_error=self.status > 500",
    ),
    Fault(
        "a cost of 0 that the gateway reports wins",
        "request/bill.py",
        "reported_nanos is not None and (reported_nanos > 0 or rates is None)",
        "reported_nanos is not None",
    ),
    Fault(
        "a partial charge leaves out the input",
        "request/bill.py",
        "seen.usage_so_far(self._quote.ask.input)",
        "seen.usage_so_far(Usage())",
    ),
    Fault(
        "a fallback is billed at the model that was asked",
        "request/bill.py",
        'return self._rates_of(seen.model or "") or self._quote.rates',
        "return self._quote.rates",
    ),
    Fault(
        "what the totals leave out is not billed",
        "request/bill.py",
        "for model, used in seen.extra_calls:",
        "for model, used in ():",
    ),
    Fault(
        "at worst nothing is normalized",
        "request/quote.py",
        "ask.worst_input.input_tokens + tokens_from_normalizing(ask.texts)",
        "ask.worst_input.input_tokens",
    ),
    Fault(
        "at worst what is hidden is plain text",
        "request/quote.py",
        "may_become += [Unit.INPUT_AUDIO, Unit.INPUT_IMAGE, Unit.INPUT_VIDEO]",
        "may_become += []",
    ),
    Fault(
        "at worst UTF-16 counts by its bytes",
        "apis/counting.py",
        "tokens = max(self.text_bytes, n_bytes - self.media_bytes)",
        "tokens = (n_bytes - self.media_bytes)",
    ),
    Fault(
        "cached tokens are counted twice",
        "core/usage.py",
        "(Unit.INPUT, uncached - fresh_audio - fresh_image - video)",
        "(Unit.INPUT, whole - fresh_audio - fresh_image - video)",
    ),
    Fault(
        "partial charges the estimate",
        "core/charges.py",
        'Charge(seen_nanos, "estimated_partial") if evidence.output_began',
        'Charge(evidence.estimate_nanos, "estimated_partial") if evidence.output_began',
    ),
    Fault(
        "no output is charged",
        "core/charges.py",
        'else Charge(0, "no_output")',
        'else Charge(evidence.input_nanos, "no_usage")',
    ),
    Fault(
        "a cost is rounded down when it is reserved",
        "core/money.py",
        "return -(-numerator // denominator)",
        "return numerator // denominator",
    ),
    # What explains a number.
    Fault(
        "of refusals alike only one is counted",
        "ledger/refusal_log.py",
        "times=alike[-1].times + refusal.times",
        "times=alike[-1].times",
    ),
    Fault(
        "a shutdown forgets refusals",
        "ledger/parts.py",
        "        self._refusals.write()\n",
        "",
    ),
    Fault(
        "shadow mode's refusals are told as if they were made",
        "ledger/refusal_log.py",
        "is_enforced=answer.status is Status.REJECTED",
        "is_enforced=answer.rejection is not None",
    ),
    Fault(
        "a log of refusals that fails is not counted",
        "ledger/refusal_log.py",
        "            self._telemetry.metrics.count_unlogged(sum(refusal.times for refusal in refusals))\n",
        "",
    ),
    Fault(
        "a story tells what was written after its figure",
        "core/story.py",
        "    while told and told[-1].spent != spent:\n        told.pop()\n",
        "",
    ),
    Fault(
        "what somebody wrote into a counter is explained",
        "core/story.py",
        "spent - told[-1].spent + _gaps(told)",
        "_gaps(told)",
    ),
    Fault(
        "a link leads to a trace that nobody exported",
        "telemetry/traceparent.py",
        "int(flags, 16) & TraceFlags.SAMPLED != 0",
        "int(flags, 16) >= 0",
    ),
    Fault(
        "targets that lack their last limit are believed",
        "stores/lua/_targets.lua",
        "are_sound = are_limits_sound and (",
        "are_sound = (",
    ),
    Fault(
        "the last seq of a call is not kept",
        "stores/lua/_dispatch.lua",
        "call('HSET', META, 'seq', whole(seq), 'bookings'",
        "call('HSET', META, 'bookings'",
    ),
    Fault(
        "verbs that go together do not see each other's holds go",
        "stores/lua/_reservations.lua",
        "  counter.holds = counter.holds and counter.holds - dropped\n",
        "",
    ),
    Fault(
        "verbs that go together do not see each other's holds",
        "stores/lua/_reservations.lua",
        "    counter.holds = counter.holds and counter.holds + added\n",
        "",
    ),
    Fault(
        "a verb's entries count from those of the verbs before it",
        "stores/lua/_dispatch.lua",
        "{}, seq\n",
        "{}, seq_before or seq\n",
    ),
    Fault(
        "one verb that is refused is all verbs refused",
        "stores/redis/batch.py",
        "if isinstance(answer, list):",
        "if all(isinstance(each, list) for each in reply):",
    ),
    # The engine and its tables.
    Fault(
        "the garbage collector looks at every reservation of the memory store",
        "stores/memory_tables.py",
        "self._ended[id_] = _packed(reservation)",
        "self._ended[id_] = list(_packed(reservation))",
    ),
    Fault(
        "the engine sweeps without a bound",
        "stores/engine_call.py",
        "            left -= len(due)\n",
        "",
    ),
    Fault(
        "the engine lets a due reservation be ended in time",
        "stores/engine_call.py",
        "        if known is not None and known.is_due(self._now_ms):\n            known = self.expire_due(known)\n",
        "",
    ),
    Fault(
        "the engine drops a counter that something is pending on",
        "stores/engine_call.py",
        "self._tables.by_hand(counter) == _UNTOUCHED and not self._tables.pending(counter)",
        "self._tables.by_hand(counter) == _UNTOUCHED",
    ),
    Fault(
        "the engine keeps counters that are back at nothing",
        "stores/engine_call.py",
        "                self._tables.drop_counter(counter)\n",
        "                pass\n",
    ),
    Fault(
        "the engine counts repairs as adjustments",
        "stores/engine_call.py",
        "            if decision.status is Status.ADJUSTED:\n",
        "            if op is Op.ADJUST:\n",
    ),
    Fault(
        "the engine leaves what came to nothing in the journal",
        "stores/engine_call.py",
        "(-self._tables.void(id_) if is_voided else count)",
        "(0 if is_voided else count)",
    ),
    Fault(
        "the engine counts an account by its periods",
        "stores/engine_call.py",
        "[(kind_of(account), nanos) for account, nanos in held.items()]",
        "[(kind_of(target.account), nanos) for target, _, nanos in postings]",
    ),
    Fault(
        "the engine remembers what expired no longer than what has ended",
        "stores/engine_call.py",
        "self._now_ms + self._retention.remember_expired_ms",
        "self._now_ms + self._retention.remember_ms",
    ),
    Fault(
        "a repair of the engine overlooks what is pending",
        "stores/engine.py",
        "held - balance.reserved",
        "0",
    ),
    Fault(
        "the memory store forgets a counter that is held on",
        "stores/memory_tables.py",
        "            if not self._leases_on.get(counter):\n",
        "            if True:\n",
    ),
    Fault(
        "a full counter takes holds",
        "core/transitions.py",
        "    _check_not_full(verb.targets, balances, verb.asked)\n",
        "",
    ),
    Fault(
        "a full counter takes holds in Lua",
        "stores/lua/reserve.lua",
        "  if estimate > 0 then check_not_full(targets) end\n",
        "",
    ),
    Fault(
        "Lua is told of no state that it has ended",
        "stores/redis/generated.py",
        "return all(_ending(op, state) in model.TELLS_RECORDED for op in _ENDING_OPS)",
        "return False",
    ),
    Fault(
        "Lua numbers the steps that book nothing",
        "stores/redis/generated.py",
        "if not model.may_book(op, of)",
        "if model.may_book(op, of)",
    ),
    Fault(
        "Lua takes what is booked for what is held",
        "stores/redis/generated.py",
        "{fields[probe.booked.usd]}, {held}",
        "{held}, {fields[probe.booked.usd]}",
    ),
    Fault(
        "a word that Python changes stays in Lua",
        "stores/redis/generated.py",
        'yield "SWEPT_PER_VERB", base.SWEPT_PER_VERB',
        'yield "SWEPT_PER_VERB", 16',
    ),
    Fault(
        "what comments name is declared",
        "stores/redis/generated.py",
        '_NAME.findall(_COMMENT.sub("", text))',
        "_NAME.findall(text)",
    ),
    Fault(
        "any number of changed limits is told",
        "stores/limit_table.py",
        "return changed if len(changed) <= CHANGES_TOLD else None",
        "return changed",
    ),
    Fault(
        "an adjustment of nothing keeps a counter in Lua",
        "stores/lua/adjust.lua",
        "if amount ~= '0' then post(",
        "if true then post(",
    ),
    Fault(
        "a script that the server forgot is an outage",
        "stores/redis/batch.py",
        "if is_unknown_script(reply):",
        "if False:",
    ),
    Fault(
        "what an event holds that is passed over is not checked",
        "apis/ordinary.py",
        "if len(data) > MAX_BYTES or not (data.isascii() or is_utf8(data)):",
        "if len(data) > MAX_BYTES:",
    ),
    Fault(
        "an event of any length may be an ordinary one",
        "apis/ordinary.py",
        "if len(data) > MAX_BYTES or not",
        "if not",
    ),
    Fault(
        "text in a field that nobody knows is overlooked",
        "apis/openai_chunk.py",
        "class _Delta(msgspec.Struct, forbid_unknown_fields=True):",
        "class _Delta(msgspec.Struct):",
    ),
    Fault(
        "a usage in a stream need not add up",
        "apis/openai_chunk.py",
        "        adds_up = self.total_tokens == self.prompt_tokens + self.completion_tokens\n",
        "        adds_up = True\n",
    ),
    Fault(
        "a null usage is taken out of an object within a chunk",
        "apis/openai_chunk.py",
        "if cuts == 1 and (is_plain or _tells_none(shorter)) else data",
        "if cuts == 1 else data",
    ),
    Fault(
        "a drawn image in a stream counts as text",
        "apis/gemini.py",
        "    if seen.media and not usage.candidates_tokens_details:\n",
        "    if False:\n",
    ),
    Fault(
        "text behind an event that was too long makes all of it readable",
        "apis/answer.py",
        "and self._inflater is None and not self._misses_text",
        "and self._inflater is None",
    ),
    Fault(
        "of a header that comes again only the first value is known",
        "headers.py",
        "        self._repeated = values\n",
        "",
    ),
    Fault(
        "headers are found in the case they came in",
        "headers.py",
        'if len(self._first) != len(headers) or not b"".join(self._first).islower():',
        "if len(self._first) != len(headers):",
    ),
    Fault(
        "an object is text alone, whatever its type",
        "apis/counting.py",
        "held = () if _MARKS.isdisjoint(item) else _count_marked(item, count)",
        "held = ()",
    ),
    Fault(
        "details of a usage are overlooked",
        "apis/openai_usage.py",
        "    if of_input or of_output:\n",
        "    if of_input and of_output:\n",
    ),
    Fault(
        "a chunk passes for an ordinary one in the middle of an event",
        "apis/splitting.py",
        "return not self._rest and not self._skipping",
        "return not self._skipping",
    ),
    # Time-outs, and the store that is away.
    Fault(
        "a loop that stands still uses up its time-outs",
        "loop_clock.py",
        "self.now_s += min(passed_s, 2 * self.tick_s)",
        "self.now_s += passed_s",
    ),
    Fault(
        "what has arrived is given up unread",
        "shared_timeout.py",
        "            after_polling(asyncio.get_running_loop(), self._give_up_due)\n",
        "            self._give_up_due()\n",
    ),
    Fault(
        "a burst is given up while others are answered",
        "shared_timeout.py",
        "else max(wait.since_s, self._progress_s)",
        "else wait.since_s",
    ),
    Fault(
        "a wait that was overtaken goes on for ever",
        "shared_timeout.py",
        "was_overtaken = self._overtakes_s - wait.since_s >= self.timeout_s",
        "was_overtaken = False",
    ),
    Fault(
        "a quick success prolongs every wait",
        "shared_timeout.py",
        "QUEUED = 0.25",
        "QUEUED = 0.0",
    ),
    Fault(
        "a wait that any later one overtakes is given up in a burst",
        "shared_timeout.py",
        "was_overtaken = self._overtakes_s - wait.since_s >= self.timeout_s",
        "was_overtaken = wait.since_s < self._overtakes_s",
    ),
    Fault(
        "a store that asks for newer limits is away",
        "ledger/attempts.py",
        "                    wait.renew()\n",
        "",
    ),
    Fault(
        "what a worker admits by itself is not counted",
        "ledger/local_ledger.py",
        "            self.owe(hold.id, hold.targets, hold.asked)\n",
        "",
    ),
    Fault(
        "what ends while the store is away is counted twice",
        "ledger/local_ledger.py",
        "            self._give_back(hold.targets, hold.asked)\n",
        "            pass\n",
    ),
    Fault(
        "refusals of an outage wait to be released",
        "request/admission.py",
        "        if hold.is_uncertain:\n            self._ledger.abandon",
        "        if True:\n            self._ledger.abandon",
    ),
    Fault(
        "a demoted server is believed",
        "stores/redis/wrong_server.py",
        '        case ["slave", *_]:\n            return _REPLICA\n',
        "",
    ),
    Fault(
        "a server that cannot do the work only refuses",
        "stores/redis/link.py",
        "        fault = fault_in(text)\n",
        "        fault = None\n",
    ),
    # Callers: which key, which path, whose trace.
    Fault(
        "a scheme within another one is none",
        "payers/credentials.py",
        "if _OTHER_SCHEME.fullmatch(value) and not _NESTED_SCHEME.search(value):",
        "if _OTHER_SCHEME.fullmatch(value):",
    ),
    Fault(
        "another scheme may stand beside a key",
        "payers/credentials.py",
        '        return _Found("", must_be_alone=True)\n',
        '        return _Found("")\n',
    ),
    Fault(
        "white space that is not ASCII is none", "payers/credentials.py", "    if word.isascii():\n", "    if True:\n"
    ),
    Fault("a path is not decoded", "apis/paths.py", "dict.fromkeys((unquote(text), *_cuts(text)))", "_cuts(text)"),
    Fault(
        "nobody steps back over an empty segment",
        "apis/paths.py",
        'or not (merges or segment == "."):',
        'or not (merges or segment in (".", "")):',
    ),
    Fault("a path as it was sent is not read", "apis/paths.py", "stages = [whole, sent] if", "stages = [whole] if"),
    Fault(
        "what is free in one reading is free",
        "routing.py",
        "dearest = max(called or plain or routes, key=_standing)",
        "dearest = min(plain or routes, key=_standing)",
    ),
    Fault("a shared path is somebody else's", "routing.py", "        return n_bytes > 0\n", "        return False\n"),
    Fault(
        "a span that follows the caller is ours",
        "telemetry/callers.py",
        "if current.is_valid and current.trace_id != callers.trace_id:",
        "if current.is_valid:",
    ),
)
