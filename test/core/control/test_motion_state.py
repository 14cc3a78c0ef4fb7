# SPDX-License-Identifier: Apache-2.0
"""What the commands do, and why they hold: one object knows both."""

from __future__ import annotations

import pytest

from gr00t_policy_core.control.command import PlayerCounts
from gr00t_policy_core.control.motion_state import MotionPhase, MotionState


def following() -> tuple[MotionState, PlayerCounts]:
    counts = PlayerCounts()
    state = MotionState(counts)
    state.accept(is_placed=True)
    state.follow()
    return state, counts


def test_the_first_command_is_still_to_come_until_a_command_of_the_path_goes_out() -> None:
    state = MotionState(PlayerCounts())
    assert state.phase is MotionPhase.RESTING
    state.accept(is_placed=True)
    assert state.phase is MotionPhase.STARTING
    state.accept(is_placed=False)  # another chunk before the first tick
    assert state.phase is MotionPhase.STARTING
    state.follow()
    assert state.phase is MotionPhase.FOLLOWING


def test_a_chunk_that_ends_settles_and_counts_one_hold() -> None:
    state, counts = following()
    state.leave_path()
    state.leave_path()
    assert state.phase is MotionPhase.SETTLING
    assert counts.holds == 1
    assert state.why_it_holds(7) == "chunk 7 ended and no other came"


@pytest.mark.parametrize("settles", [False, True])
def test_a_hold_brakes_and_counts_once(settles: bool) -> None:
    state, counts = following()
    if settles:
        state.leave_path()
    state.hold("told to stop")
    state.hold("told to stop again")
    assert state.phase is MotionPhase.BRAKING
    assert counts.holds == 1
    assert state.why_it_holds(7) == "told to stop again"


def test_a_motion_that_is_broken_off_before_its_first_command_rests() -> None:
    state = MotionState(PlayerCounts())
    state.accept(is_placed=True)
    state.hold("told to stop")
    assert state.phase is MotionPhase.STARTING  # nothing moves yet, and nothing has to brake
    state.leave_path()
    assert state.phase is MotionPhase.RESTING
    assert not state.is_moving


def test_what_inhibits_motion_is_told_before_what_began_the_hold() -> None:
    state, _ = following()
    state.hold("told to stop")
    state.inhibit("the enable signal is off")
    assert state.why_it_holds(7) == "the enable signal is off"
    assert state.is_inhibited
    state.inhibit("")
    assert state.why_it_holds(7) == "told to stop"
    assert not state.is_inhibited


def test_a_refusal_is_told_beside_the_hold_unless_it_says_the_same() -> None:
    state, _ = following()
    state.hold("told to stop")
    state.refuse("chunk 8 is too old")
    assert state.why_it_holds(7) == "told to stop; refused since: chunk 8 is too old"
    state.refuse("chunk 9: told to stop")
    assert state.why_it_holds(7) == "told to stop"


def test_an_accepted_chunk_ends_every_reason_to_hold() -> None:
    state, _ = following()
    state.fail("arm[0] does not follow")
    state.hold("arm[0] does not follow")
    state.refuse("chunk 8 is too old")
    assert state.is_inhibited
    state.accept(is_placed=False)
    assert state.phase is MotionPhase.FOLLOWING
    assert (state.fault, state.is_inhibited) == ("", False)
    assert state.why_it_holds(9) == "chunk 9 ended and no other came"


def test_before_the_first_command_the_reason_is_what_keeps_it_from_coming() -> None:
    state = MotionState(PlayerCounts())
    assert state.why_nothing_was_commanded() == "no chunk received yet"
    state.refuse("chunk 1 is too old")
    assert state.why_nothing_was_commanded() == "chunk 1 is too old"
    state.inhibit("the position of arm[0] is not known yet")
    assert state.why_nothing_was_commanded() == "the position of arm[0] is not known yet"
