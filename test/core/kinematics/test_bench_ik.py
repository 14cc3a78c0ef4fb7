# SPDX-License-Identifier: Apache-2.0
"""`make bench-ik` measures what it says."""

import pytest

pytest.importorskip("pinocchio", reason="computes the kinematics")
from bench.arms import seven_joint_arm
from bench.ik import HORIZON, measure


def test_a_row_has_the_times_of_all_steps() -> None:
    row = measure(seven_joint_arm(), repetitions=2)
    assert row.joints == 7
    assert row.iterations >= HORIZON - 1  # the first step begins where it ends
    assert 0.0 < row.bare_ms < row.median_ms <= row.worst_ms
