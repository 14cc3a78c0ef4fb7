# SPDX-License-Identifier: Apache-2.0
"""Stamped buffers: order, span, nearest sample, received rate, and time set back."""

import threading

import pytest

from gr00t_policy_core.control.samples import Sample, SampleBuffer

SECOND_NS = 1_000_000_000


def filled(*stamps_ns: int, span_ns: int = 10 * SECOND_NS, **options: int) -> SampleBuffer[str]:
    buffer: SampleBuffer[str] = SampleBuffer(span_ns=span_ns, **options)
    for stamp_ns in stamps_ns:
        buffer.add(stamp_ns, f"at {stamp_ns}", received_ns=stamp_ns)
    return buffer


def stamps_of(buffer: SampleBuffer[str], *wanted_ns: int) -> list[int | None]:
    samples = [buffer.nearest(stamp_ns) for stamp_ns in wanted_ns]
    return [sample.stamp_ns if sample else None for sample in samples]


def test_an_empty_buffer_has_nothing() -> None:
    buffer = filled()
    assert buffer.latest() is None
    assert buffer.nearest(5) is None
    assert buffer.rate_hz(SECOND_NS) == 0.0


def test_the_nearest_sample_lies_on_either_side() -> None:
    buffer = filled(100, 200, 300)
    assert stamps_of(buffer, -50, 100, 149, 151, 260, 900) == [100, 100, 100, 200, 300, 300]


def test_a_late_arrival_is_sorted_in_and_is_not_the_latest() -> None:
    buffer = filled(100, 300, 200)
    assert buffer.latest() == Sample(300, "at 300")
    assert buffer.nearest(210) == Sample(200, "at 200")


def test_samples_older_than_the_span_are_dropped() -> None:
    buffer = filled(0, 60, 100, 160, span_ns=100)
    assert stamps_of(buffer, 0) == [60]


def test_a_span_changed_later_holds_from_the_next_sample_on() -> None:
    buffer = filled(0, 100, span_ns=100)
    buffer.keep(1000)
    for stamp_ns in (600, 900):
        buffer.add(stamp_ns, "", received_ns=0)
    assert stamps_of(buffer, 0) == [0]


def test_the_oldest_go_when_there_are_too_many() -> None:
    buffer = filled(1, 2, 3, 4, 5, max_samples=3)
    assert stamps_of(buffer, 0, 9) == [3, 5]


def test_time_set_back_far_starts_the_buffer_anew() -> None:
    buffer = filled(100 * SECOND_NS, 101 * SECOND_NS, span_ns=SECOND_NS)
    buffer.add(2 * SECOND_NS, "after the restart", received_ns=0)
    assert buffer.latest() == Sample(2 * SECOND_NS, "after the restart")
    assert stamps_of(buffer, 101 * SECOND_NS) == [2 * SECOND_NS]


def test_one_stamp_from_the_far_future_does_not_block_those_that_follow() -> None:
    buffer = filled(SECOND_NS, 900 * SECOND_NS, 2 * SECOND_NS, span_ns=SECOND_NS)
    assert buffer.latest() == Sample(2 * SECOND_NS, f"at {2 * SECOND_NS}")


def test_the_received_rate_is_that_of_the_receptions_not_of_the_stamps() -> None:
    buffer: SampleBuffer[int] = SampleBuffer(span_ns=SECOND_NS)
    for i in range(31):
        buffer.add(7, i, received_ns=i * SECOND_NS // 30)
    assert buffer.rate_hz(SECOND_NS) == pytest.approx(30.0, rel=1e-3)


def test_the_rate_of_a_dead_stream_falls_at_once_and_ends_at_zero() -> None:
    buffer: SampleBuffer[int] = SampleBuffer(span_ns=SECOND_NS)
    for i in range(31):
        buffer.add(i, i, received_ns=i * SECOND_NS // 30)
    rates = [buffer.rate_hz(round(t * SECOND_NS)) for t in (1.0, 1.5, 2.0, 3.0, 9.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[1] < 0.7 * rates[0]
    assert rates[-1] == 0.0


def test_one_message_has_no_rate() -> None:
    assert filled(100).rate_hz(100) == 0.0


def test_clear_forgets_samples_and_receptions() -> None:
    buffer = filled(100, 200)
    buffer.clear()
    assert buffer.latest() is None
    assert buffer.rate_hz(200) == 0.0


@pytest.mark.parametrize("options", [{"span_ns": -1}, {"span_ns": 1, "max_samples": 0}])
def test_senseless_sizes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be >="):
        SampleBuffer(**options)


def test_readers_and_a_writer_share_a_buffer() -> None:
    buffer: SampleBuffer[int] = SampleBuffer(span_ns=50)
    buffer.add(0, 0, received_ns=0)
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            sample = buffer.nearest(10**9)
            if sample is None or sample.value != sample.stamp_ns:
                wrong.append(sample)
            buffer.rate_hz(10**9)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(3000):
        buffer.add(i, i, received_ns=i)
    done.set()
    reader.join()
    assert not wrong


def test_samples_behind_a_time_that_was_set_back_are_dropped() -> None:
    buffer = filled(100, 200, 300)
    buffer.drop_after(200)
    assert buffer.latest() == Sample(200, "at 200")
    buffer.drop_after(0)
    assert buffer.latest() is None


def test_a_sample_that_turned_out_to_be_none_is_forgotten_and_no_other_of_its_time() -> None:
    buffer = filled(100, 200)
    buffer.add(200, "as late", received_ns=0)
    sample = buffer.latest()
    assert sample is not None
    buffer.discard(sample)
    assert buffer.latest() == Sample(200, "at 200" if sample.value == "as late" else "as late")
    buffer.discard(sample)
    assert stamps_of(buffer, 0, 900) == [100, 200]
