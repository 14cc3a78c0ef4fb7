# SPDX-License-Identifier: Apache-2.0
"""The control loop's ticker, on a clock of the test's own: no test here waits."""

import pytest

from gr00t_policy_core.control.deadline_ticker import DeadlineTicker

MS_NS = 1_000_000


class FakeClock:
    """A monotonic clock that only sleeping moves, by `oversleep_ns` too far."""

    def __init__(self) -> None:
        self.now_ns = 5_000 * MS_NS
        self.oversleep_ns = 0

    def now(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        assert seconds > 0.0
        self.now_ns += round(seconds * 1e9) + self.oversleep_ns


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def ticker_of(clock: FakeClock, rate_hz: float = 100.0) -> DeadlineTicker:
    return DeadlineTicker(rate_hz, now_ns=clock.now, sleep_s=clock.sleep)


def test_ticks_lie_on_a_grid_however_long_the_work_takes(clock: FakeClock) -> None:
    start_ns, ticker = clock.now_ns, ticker_of(clock)
    ticks = []
    for work_ms in (1, 9, 3, 0, 7):
        ticker.wait()
        ticks.append((clock.now_ns - start_ns) / MS_NS)
        clock.now_ns += work_ms * MS_NS
    assert ticks == [10, 20, 30, 40, 50]


def test_a_late_wake_up_is_told_and_does_not_delay_the_rest(clock: FakeClock) -> None:
    start_ns, ticker = clock.now_ns, ticker_of(clock)
    clock.oversleep_ns = 4 * MS_NS
    assert ticker.wait() == 4 * MS_NS
    clock.oversleep_ns = 0
    assert ticker.wait() == 0
    assert clock.now_ns - start_ns == 20 * MS_NS
    assert ticker.lost == 0


def test_missed_deadlines_are_skipped_and_counted_not_caught_up(clock: FakeClock) -> None:
    start_ns, ticker = clock.now_ns, ticker_of(clock)
    ticker.wait()
    clock.now_ns += 35 * MS_NS  # at 45 ms: 20 and 30 are lost, 40 is late
    assert ticker.wait() == 5 * MS_NS
    assert ticker.lost == 2
    ticker.wait()
    assert clock.now_ns - start_ns == 50 * MS_NS


def test_the_period_is_that_of_the_rate(clock: FakeClock) -> None:
    assert ticker_of(clock, 200.0).period_ns == 5 * MS_NS


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate_hz: float) -> None:
    with pytest.raises(ValueError, match="rate_hz must be > 0"):
        DeadlineTicker(rate_hz)


def test_the_real_clock_ticks() -> None:
    assert DeadlineTicker(1000.0).wait() >= 0


def test_it_wakes_up_before_the_deadline_and_watches_the_clock_until_it(clock: FakeClock) -> None:
    def look() -> int:
        clock.now_ns += 1000  # a look takes a microsecond
        return clock.now_ns

    start_ns = clock.now_ns
    ticker = DeadlineTicker(100.0, spin_s=2e-3, now_ns=look, sleep_s=clock.sleep)
    clock.oversleep_ns = MS_NS  # less than what it watches for
    for tick in (1, 2, 3):
        assert ticker.wait() <= 2000
        assert clock.now_ns - start_ns == pytest.approx(tick * 10 * MS_NS, abs=5000)
    assert ticker.lost == 0
