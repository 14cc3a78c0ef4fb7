# SPDX-License-Identifier: Apache-2.0
"""How long each stage of an answer takes, without making the host wait for the device."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Laps between `lap` calls; on a GPU by events in its queue, which are read at the end.

    A lap of a stage that runs on the host while the GPU still works counts for the host only.

    Args:
        device: Where the stages run.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._start = time.perf_counter()
        self._last = self._start
        self._laps_s: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._begin = self._event()

    def lap(self, stage: str) -> None:
        """End a stage of the host."""
        now = time.perf_counter()
        self._laps_s[stage] = now - self._last
        self._last = now
        self._begin = self._event()

    def device_lap(self, stage: str) -> None:
        """End a stage of the device."""
        if self._begin is None:
            self.lap(stage)
            return
        end = self._event()
        self._events.append((stage, self._begin, end))
        self._begin = end
        self._last = time.perf_counter()

    def resume(self) -> None:
        """Begin the next stage now: what the host waited for is in the device's stages."""
        self._last = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """By stage, and ``total`` since the stopwatch was made."""
        laps_s = dict(self._laps_s)
        for stage, begin, end in self._events:
            end.synchronize()
            laps_s[stage] = begin.elapsed_time(end) / 1e3
        laps_s["total"] = time.perf_counter() - self._start
        return laps_s

    def _event(self) -> torch.cuda.Event | None:
        if not self._on_gpu:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
