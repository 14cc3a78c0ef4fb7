# SPDX-License-Identifier: Apache-2.0
"""Enders of a user's own, by the name of their class."""

from __future__ import annotations

import threading

from gr00t_ros.task import Ender, Reading


class BrokenEnder(Ender):
    """Raises at every look."""

    def reading(self, at_s: float) -> Reading:
        raise ZeroDivisionError("no scale")


class HangingEnder(Ender):
    """Returns from its third look never."""

    _looks = 0

    def reading(self, at_s: float) -> Reading:
        self._looks += 1
        if self._looks > 2:
            threading.Event().wait()
        return Reading(0.0, "wait for it")
