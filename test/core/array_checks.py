# SPDX-License-Identifier: Apache-2.0
"""Arrays that must be the same to the last byte of their type."""

from typing import Any

import numpy as np


def assert_same_array(actual: Any, expected: Any) -> None:
    """Require an array of the same type, byte order, shape and values."""
    assert isinstance(actual, np.ndarray)
    assert actual.dtype == expected.dtype
    assert actual.dtype.byteorder == expected.dtype.byteorder
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual, expected)
