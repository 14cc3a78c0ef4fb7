# SPDX-License-Identifier: Apache-2.0
"""Who allows the robot to move."""

from gr00t_policy_core.control.motion_gate import MotionGate

S_NS = 1_000_000_000


def test_without_an_enable_signal_motion_is_allowed_until_a_stop() -> None:
    gate = MotionGate()
    assert gate.reason(0) == ""
    gate.stop("stopped by hand")
    assert gate.reason(10**18) == "stopped by hand"
    gate.start()
    assert gate.reason(0) == ""


def test_with_an_enable_signal_nothing_moves_before_it_came() -> None:
    gate = MotionGate()
    gate.require_enable(S_NS // 2)
    assert gate.reason(0) == "the enable signal is off"
    gate.enable(True, 10 * S_NS)
    assert gate.reason(10 * S_NS + S_NS // 2) == ""


def test_an_enable_signal_that_is_not_kept_counts_as_released() -> None:
    gate = MotionGate()
    gate.require_enable(S_NS // 2)
    gate.enable(True, 10 * S_NS)
    assert gate.reason(11 * S_NS) == "the enable signal is 1.00 s old"
    gate.enable(True, 11 * S_NS)
    assert gate.reason(11 * S_NS) == ""


def test_a_released_enable_signal_stops_at_once() -> None:
    gate = MotionGate()
    gate.require_enable(S_NS // 2)
    gate.enable(True, 10 * S_NS)
    gate.enable(False, 10 * S_NS)
    assert gate.reason(10 * S_NS) == "the enable signal is off"


def test_what_is_lacking_forbids_motion_until_it_is_there_whatever_is_started() -> None:
    gate = MotionGate()
    gate.block("description", "no robot description")
    gate.start()
    assert gate.reason(0) == "no robot description"
    gate.stop("stopped by hand")
    assert gate.reason(0) == "stopped by hand"
    gate.start()
    gate.block("subscribers", "nobody subscribes")
    gate.block("description", "")
    assert gate.reason(0) == "nobody subscribes"
    gate.block("subscribers", "")
    assert gate.reason(0) == ""


def test_a_stop_outlasts_another_configuration() -> None:
    gate = MotionGate()
    gate.stop("stopped by hand")
    gate.require_enable(None)
    assert gate.reason(0) == "stopped by hand"


def test_a_stop_stays_whatever_the_enable_signal_says_and_start_leaves_the_rest_to_it() -> None:
    gate = MotionGate()
    gate.require_enable(S_NS // 2)
    gate.stop("stopped by hand")
    gate.enable(True, 0)
    assert gate.reason(0) == "stopped by hand"
    gate.start()
    assert gate.reason(0) == ""
    assert gate.reason(S_NS) == "the enable signal is 1.00 s old"
