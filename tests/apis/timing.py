"""How long a piece of code keeps the loop busy."""

import gc
import time
from collections.abc import Callable
from functools import partial


def cpu_ms(work: Callable[[], object], *, runs: int = 3) -> float:
    """The CPU time of this thread in milliseconds, the least of some runs: what other processes take is not in it.

    Nor is a collection of the garbage of all the tests before.
    """
    least = float("inf")
    gc.disable()
    try:
        for _ in range(runs):
            began = time.thread_time()
            work()
            least = min(least, time.thread_time() - began)
    finally:
        gc.enable()
    return least * 1000


def grows_linearly(
    work: Callable[[str], object], unit: str, *, start: str = "", end: str = "", at_most_ms: float = 50
) -> bool:
    """Whether twice the text takes about twice as long, at 32 and 64 kB, and the longer one no more than `at_most_ms`.

    What is quadratic takes four times as long, and seconds at this length. The speed of shared cores changes from one
    moment to the next, so it is measured up to three times: that makes nothing linear which is not.
    """

    def is_so() -> bool:
        half, whole = (cpu_ms(partial(work, start + unit * (size // len(unit)) + end)) for size in (32_768, 65_536))
        return whole < at_most_ms and whole < 3 * half + 5

    return any(is_so() for _ in range(3))
