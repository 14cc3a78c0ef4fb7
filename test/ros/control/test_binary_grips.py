# SPDX-License-Identifier: Apache-2.0
"""Hands on position topics that only open and close, over one chunk after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.control.binary_grips import BinaryGrips

FINGERS = ["index", "thumb"]
OPEN, CLOSED = [0.0, 1.0], [1.5, 0.0]
DT_S, NOW_NS = 0.1, 1_795_755_063_000_000_000
OPENED = dict(zip(FINGERS, OPEN, strict=True))


def contract(**changes: Any) -> Contract:
    hand = {
        "type": "joint_trajectory",
        "topic": "hand",
        "joints": FINGERS,
        "binary": True,
        "hysteresis": 0.2,
        "min_hold_s": 0.5,
        "open_position": OPEN,
        "closed_position": CLOSED,
        **changes,
    }
    state = {"type": "joint_state", "topic": "joint_states", "joints": FINGERS}
    values: dict[str, Any] = {"action_rate_hz": 10.0}
    values |= {f"state.hand.{name}": value for name, value in state.items()}
    values |= {f"action.hand.{name}": v for name, v in hand.items() if v is not None}
    return parse_contract(values)


def chunk(closures: list[float], late_s: float = 0.0) -> Chunk:
    """A chunk whose first step was `late_s` ago, from open (0) to closed (1)."""
    way = np.array(closures)[:, None]
    rows = np.array(OPEN) + way * np.subtract(CLOSED, OPEN)
    return Chunk(1, NOW_NS - round(late_s * 1e9), DT_S, {"hand": rows})


def closed(grips: BinaryGrips, given: Chunk, after_s: float = 0.0, **measured: float) -> list[bool]:
    """Which steps are closed, for a chunk that is played then."""
    planned = grips.plan(given, NOW_NS + round(after_s * 1e9), measured)
    rows = grips.steps(given, planned).actions["hand"]
    grips.keep(planned)
    assert all(row in (OPEN, CLOSED) for row in rows.tolist())
    return [row == CLOSED for row in rows.tolist()]


def test_the_steps_of_a_chunk_open_and_close_with_hysteresis_and_hold_time() -> None:
    closures = [0.0, 0.55, 0.61, 0.3, 0.3, 0.3, 0.3, 0.3, 0.45, 0.9]
    found = closed(BinaryGrips(contract()), chunk(closures), **OPENED)
    assert found == [False, False, True, True, True, True, True, False, False, False]


def test_the_next_chunk_goes_on_from_what_is_so_at_present() -> None:
    grips = BinaryGrips(contract(min_hold_s=0.0))
    assert closed(grips, chunk([0.0, 0.0, 1.0, 1.0]), **OPENED)[-1]
    # At 0.25 s it is closed, and what wavers does not open it.
    assert closed(grips, chunk([0.45] * 5), 0.25) == [True] * 5
    grips = BinaryGrips(contract(min_hold_s=0.0))
    closed(grips, chunk([0.0, 0.0, 1.0, 1.0]), **OPENED)
    # At 0.15 s it is still open: what the first chunk would have closed later never happened.
    assert closed(grips, chunk([0.55] * 5), 0.15) == [False] * 5


def test_no_chunk_begins_with_a_jump() -> None:
    found = closed(BinaryGrips(contract()), chunk([1.0] * 6, late_s=0.25), **OPENED)
    assert found == [False, False, False, True, True, True]


def test_a_hand_that_nothing_measures_begins_where_the_policy_wants_it() -> None:
    assert closed(BinaryGrips(contract()), chunk([1.0, 1.0])) == [True, True]


def test_a_chunk_that_is_rejected_leaves_no_trace() -> None:
    grips = BinaryGrips(contract(min_hold_s=0.0))
    grips.plan(chunk([1.0, 1.0], late_s=0.2), NOW_NS, {})
    assert closed(grips, chunk([0.45] * 3), **OPENED) == [False] * 3


def test_what_is_not_binary_is_left_as_it_is() -> None:
    names = ("hysteresis", "min_hold_s", "open_position", "closed_position")
    plain = contract(binary=False, **dict.fromkeys(names))
    given = chunk([0.2, 0.4])
    grips = BinaryGrips(plain)
    assert grips.steps(given, grips.plan(given, NOW_NS, {})) is given
    assert not grips.keys


def test_contradictions_are_named() -> None:
    with pytest.raises(SpecError, match=r"action\.hand\.hysteresis: has no effect here, only with"):
        contract(binary=False)
    with pytest.raises(SpecError, match="closed_position needs 1 or 2 values, got 3"):
        contract(closed_position=[1.0, 2.0, 3.0])
