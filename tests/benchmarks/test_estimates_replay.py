"""The replay of budgets under estimates: small windows by hand, and the whole program in its quick form."""

import gzip

import pytest

from benchmarks import estimates_replay
from benchmarks.replay.figures import best_fixed, missed_aims
from benchmarks.replay.grid import FIXED, LEARNED, LEARNED_WAITING, Cell, Contender, Grid, Result, calls_of
from benchmarks.replay.made_up import make_traces
from benchmarks.replay.rules import Fixed, Hold, Learned
from benchmarks.replay.traces import OUTPUT_NANOS, Call, Record, TraceError, read_traces, trace_of
from benchmarks.replay.window import BEAT_S, Outcome, replay

LIMIT_TOKENS = 100
LIMIT_NANOS = LIMIT_TOKENS * OUTPUT_NANOS


def call(at_s: float, tokens: int, *, tokens_per_s: float = 10, is_stream: bool = True) -> Call:
    """A call without input, whose answer takes half a second and the time to write it."""
    seconds = 0.5 + tokens / tokens_per_s
    return Call(at_s, 0, tokens, "", 0, tokens_per_s, is_stream, seconds, tokens * OUTPUT_NANOS)


class Doubling(Fixed):
    """Holds so many tokens at first, and doubles that until an answer fits."""

    def hold(self, call: Call) -> Hold:
        return super().hold(call)._replace(tokens_per_s=call.tokens_per_s)

    def grow(self, hold: Hold, *, seen_tokens: int) -> Hold:
        tokens = hold.tokens
        while tokens <= seen_tokens:
            tokens *= 2
        return hold._replace(tokens=tokens, nanos=tokens * OUTPUT_NANOS)


def outcome(**figures: int) -> Outcome:
    return Outcome(LIMIT_NANOS, **figures)


def test_a_call_is_refused_early_while_others_hold_more_than_they_cost():
    """The first ends after three seconds and a half."""
    found = replay([call(0, 30), call(1, 30)], Fixed(60), limit_nanos=LIMIT_NANOS)
    assert found == outcome(affordable=2, early=1, answers=1, spent_nanos=30 * OUTPUT_NANOS)


def test_a_call_that_waits_gets_what_is_given_back():
    found = replay([call(0, 30), call(1, 30)], Fixed(60), limit_nanos=LIMIT_NANOS, wait_s=3)
    assert found == outcome(affordable=2, answers=2, spent_nanos=60 * OUTPUT_NANOS)


def test_a_call_gives_up_when_it_has_waited_long_enough():
    found = replay([call(0, 30), call(1, 30)], Fixed(60), limit_nanos=LIMIT_NANOS, wait_s=2)
    assert found == outcome(affordable=2, early=1, answers=1, spent_nanos=30 * OUTPUT_NANOS)


class Expecting(Fixed):
    """Holds what it is told, and expects half of it."""

    def hold(self, call: Call) -> Hold:
        hold = super().hold(call)
        return hold._replace(expected_nanos=hold.nanos // 2)


def test_the_last_call_of_a_budget_holds_what_is_left():
    calls = [call(0, 60), call(20, 30), call(20, 5), call(40, 5)]
    assert replay(calls[:2], Expecting(60), limit_nanos=LIMIT_NANOS, to_last_cent=True) == outcome(
        affordable=2, answers=2, spent_nanos=90 * OUTPUT_NANOS
    )
    # While that holds all that is left nobody else is admitted, and after it 10 do not cover 30.
    assert replay(calls, Expecting(60), limit_nanos=LIMIT_NANOS, to_last_cent=True) == outcome(
        affordable=4, early=2, answers=2, spent_nanos=90 * OUTPUT_NANOS
    )


def test_a_refusal_is_not_early_where_the_budget_is_spent():
    calls = [call(0, 90), call(20, 30)]
    found = replay(calls, Fixed(60), limit_nanos=LIMIT_NANOS)
    assert found == outcome(affordable=1, answers=1, beyond=1, spent_nanos=90 * OUTPUT_NANOS)


def test_answers_that_cost_more_than_they_hold_overspend():
    calls = [call(0, 90), call(1, 90)]
    found = replay(calls, Fixed(10), limit_nanos=LIMIT_NANOS)
    assert found == outcome(affordable=1, answers=2, beyond=2, spent_nanos=180 * OUTPUT_NANOS)
    assert found.overspent == pytest.approx(0.8)


def test_a_stream_that_outgrows_its_hold_keeps_others_out():
    """The first holds 80 once it has come to 41, four seconds and a half after it began."""
    calls = [call(0, 70), call(4, 5), call(4.7, 70)]
    found = replay(calls, Doubling(10), limit_nanos=60 * OUTPUT_NANOS)
    assert found == Outcome(60 * OUTPUT_NANOS, affordable=1, answers=2, grows=3, spent_nanos=75 * OUTPUT_NANOS)


def test_an_answer_of_which_nothing_is_seen_grows_at_a_beat():
    calls = [call(0, 70, tokens_per_s=2, is_stream=False)]
    assert calls[0].seconds < 2 * BEAT_S
    assert replay(calls, Doubling(10), limit_nanos=LIMIT_NANOS).grows == 1


def test_a_window_is_paced_by_how_many_calls_are_in_flight():
    trace = trace_of("t", [Record(at_s, 10, 50) for at_s in range(100)], seed=1)
    for in_flight in (1, 10):
        calls = calls_of(trace, Cell(budget_calls=100, in_flight=in_flight, start=90))
        lasts_s = calls[-1].at_s
        assert len(calls) == 200
        assert sum(each.seconds for each in calls) / lasts_s == pytest.approx(in_flight)


def test_what_was_learnt_of_one_caller_is_not_held_of_another():
    learned = Learned(most_tokens=1_000, spreads=2)
    brief, long = (call(0, tokens)._replace(session=session) for tokens, session in ((10, "a"), (200, "b")))
    for _ in range(100):
        learned.learn(brief)
        learned.learn(long)
    known = learned.copy()
    for _ in range(100):
        learned.learn(brief._replace(output_tokens=500))
    assert 10 <= known.hold(brief).tokens < 200 <= known.hold(long).tokens
    assert known.hold(brief).tokens < learned.hold(brief).tokens


def test_the_same_seed_makes_the_same_traces():
    first, again, other = (make_traces(seed=seed, records=50) for seed in (1, 1, 2))
    assert first == again != other
    assert [trace.name for trace in first if trace.is_shifting] == ["drifting", "two modes"]


def test_traces_are_read_with_or_without_compression_and_sessions(tmp_path):
    (tmp_path / "plain.csv").write_text("t_seconds,input_tokens,output_tokens,model,session\n1,5,7,m,c1\n0,3,4,m,c2\n")
    with gzip.open(tmp_path / "small.csv.gz", "wt") as file:
        file.write("t_seconds,input_tokens,output_tokens\n0.5,1,2\n1.5,1,3\n")
    plain, small = read_traces(tmp_path, seed=1)
    assert [(each.at_s, each.input_tokens, each.output_tokens, each.session) for each in plain.calls] == [
        (0, 3, 4, "c2"),
        (1, 5, 7, "c1"),
    ]
    assert (small.name, len(small.calls), small.most_output_tokens) == ("small", 2, 3)


@pytest.mark.parametrize(
    "text",
    ["", "t_seconds,input_tokens\n0,1\n", "t_seconds,input_tokens,output_tokens\n0,many,2\n1,1,1\n"],
    ids=["empty", "a column is missing", "no number"],
)
def test_a_trace_that_cannot_be_read_is_told_in_one_line(tmp_path, text):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(TraceError, match=r"^.*bad\.csv: [^\n]*$"):
        read_traces(tmp_path, seed=1)


def test_a_folder_without_traces_is_wrong_input(tmp_path, capsys):
    assert estimates_replay.main(["--traces", str(tmp_path)]) == 2
    assert "no *.csv" in capsys.readouterr().err


# What the aims say.


def results(*, is_shifting: bool = False, learned: Outcome, waiting: Outcome, fixed: Outcome) -> list[Result]:
    of_rules = {LEARNED: learned, LEARNED_WAITING: waiting} | dict.fromkeys(() if is_shifting else FIXED, fixed)
    return _results_of(of_rules, is_shifting=is_shifting)


def _results_of(of_rules: dict[Contender, Outcome], *, is_shifting: bool = False) -> list[Result]:
    return [Result("t", is_shifting, contender, Cell(20, 1, 0), found) for contender, found in of_rules.items()]


GOOD = outcome(affordable=80, early=10, answers=80, spent_nanos=LIMIT_NANOS)
WAITED = outcome(affordable=80, early=5, answers=80, spent_nanos=LIMIT_NANOS)
STRICT = outcome(affordable=80, early=40, answers=40, spent_nanos=LIMIT_NANOS // 2)


def test_aims_that_are_met_are_not_missed():
    assert missed_aims(results(learned=GOOD, waiting=WAITED, fixed=STRICT), are_real=True) == []


@pytest.mark.parametrize(
    ("learned", "waiting", "fixed", "line"),
    [
        (outcome(affordable=80, spent_nanos=2 * LIMIT_NANOS), WAITED, STRICT, "learned: 100.00 % of windows overspend"),
        (outcome(affordable=80, early=14), WAITED, STRICT, "learned: 17.5 % are refused early, at most 16.7 %"),
        (GOOD, outcome(affordable=80, early=6), STRICT, "learned, waits 15 s: 7.5 % are refused early, at most 6.2 %"),
        (outcome(affordable=80, answers=10, grows=2), WAITED, STRICT, "learned: 0.200 grows a call, at most 0.1"),
        (outcome(affordable=80, reserved_nanos=1), WAITED, STRICT, "in 1 windows something was reserved"),
    ],
    ids=["overspends", "early", "early waiting", "grows", "reserved"],
)
def test_each_aim_can_be_missed(learned, waiting, fixed, line):
    (missed,) = missed_aims(results(learned=learned, waiting=waiting, fixed=fixed), are_real=True)
    assert missed.startswith(line)


def test_how_much_waiting_helps_is_held_to_its_aim_with_real_traces_only():
    made_up = results(learned=GOOD, waiting=GOOD, fixed=STRICT)
    assert missed_aims(made_up, are_real=False) == []
    assert len(missed_aims(made_up, are_real=True)) == 1


def test_the_smallest_fixed_hold_that_is_safe_is_compared_but_none_above_the_one_that_was_named():
    over = outcome(affordable=80, spent_nanos=2 * LIMIT_NANOS)
    of_rules = dict.fromkeys(FIXED, over)
    assert best_fixed(_results_of(of_rules))[0].fixed_tokens == 8_192
    of_rules[FIXED[1]] = STRICT
    assert best_fixed(_results_of(of_rules))[0].fixed_tokens == 2_048


def test_traces_that_shift_have_an_aim_of_their_own():
    steady = results(learned=GOOD, waiting=WAITED, fixed=STRICT)
    shifting = results(is_shifting=True, learned=outcome(spent_nanos=2 * LIMIT_NANOS), waiting=WAITED, fixed=STRICT)
    (missed,) = missed_aims([*steady, *shifting], are_real=True)
    assert missed.startswith("learned: 100.00 % of windows of traces that shift overspend")


# The whole program.


def test_the_quick_form_runs_and_draws(tmp_path, capsys):
    picture = tmp_path / "rules.svg"
    code = estimates_replay.main(["--quick", "--seed", "3", "--picture", str(picture)])
    shown = capsys.readouterr().out
    assert "seed 3" in shown
    assert "| learned, waits 15 s" in shown
    assert code == ("missed:" in shown)
    assert all(each.name in picture.read_text() for each in (LEARNED, LEARNED_WAITING, *FIXED))


def test_the_program_fails_where_nothing_is_held_above_the_mean(tmp_path, capsys):
    code = estimates_replay.main(["--quick", "--spread", "0", "--picture", str(tmp_path / "rules.svg")])
    assert code == 1
    assert "missed: learned: " in capsys.readouterr().out


def test_the_default_grid_is_the_one_that_was_specified():
    grid = Grid()
    assert (grid.budgets, grid.in_flight, grid.windows) == ((20, 100, 1_000), (1, 10, 100), 20)
