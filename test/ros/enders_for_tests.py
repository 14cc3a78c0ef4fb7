# SPDX-License-Identifier: Apache-2.0
"""Enders of a user's own, by the name of their class."""

from __future__ import annotations

from gr00t_ros.task import Ender, Reading


class BrokenEnder(Ender):
    """Raises at every look."""

    def reading(self, at_s: float) -> Reading:
        raise ZeroDivisionError("no scale")
