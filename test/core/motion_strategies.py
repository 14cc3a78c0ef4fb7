# SPDX-License-Identifier: Apache-2.0
"""What the property tests of the motion share."""

from __future__ import annotations

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

SETTINGS = settings(deadline=None, max_examples=60, derandomize=True)


T0_NS = 1_700_000_000_000_000_000


MS_NS = 1_000_000


DT_S = 0.05


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)
