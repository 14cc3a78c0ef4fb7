# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking of the feedback expert: a chunk that goes on from the one being played.

The option is that of the models (``gr00t_policy_core.models``): ``options["rtc"]`` is ``{"prefix":
{key: float32 (B, overlap, D)}, "frozen_steps": int, "ramp_rate": float}``. Row ``i`` of the prefix
is what the chunk in execution plans for step ``i`` of the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.policy import Options

DIMENSIONS: Mapping[str, int] = {"single_arm": 6, "gripper": 1}
FIELDS = ("prefix", "frozen_steps", "ramp_rate")


@dataclass(frozen=True, slots=True)
class Settled:
    """What the chunk in execution plans, for one row of the batch.

    Attributes:
        rows: Joint targets for the first steps of the new chunk, float64 (overlap, 7).
        frozen_steps: How many of them are going to be executed, whatever the answer.
        ramp_rate: How soon the chunk is its own over the others; 0 is a straight ramp.
    """

    rows: NDArray[np.float64]
    frozen_steps: int
    ramp_rate: float

    @property
    def frozen(self) -> NDArray[np.float64]:
        """The rows that stay as they are, float64 (frozen_steps, 7)."""
        return self.rows[: self.frozen_steps]

    def around_end(self) -> NDArray[np.float64]:
        """The targets before, at and after the last frozen step, float64 (3, 7).

        Of a neighbour that is not there, the line through the other two has its place.
        """
        last = self.frozen_steps - 1
        now = self.rows[last]
        before = self.rows[last - 1] if last > 0 else None
        after = self.rows[last + 1] if last + 1 < len(self.rows) else None
        if before is None:
            before = now if after is None else 2 * now - after
        if after is None:
            after = 2 * now - before
        return np.stack([before, now, after])

    def blended(self, chunk: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the rows over to the chunk, along the ramp of N1.7's head. float64 (H, 7)."""
        overlap, frozen = len(self.rows), self.frozen_steps
        t = np.linspace(0.0, 1.0, overlap - frozen + 2)
        ramp = t if self.ramp_rate == 0.0 else 1.0 - np.exp(-self.ramp_rate * t)
        own_share = np.zeros((overlap, 1))
        own_share[frozen:, 0] = (ramp / ramp[-1])[1:-1]
        blend = chunk.copy()
        blend[:overlap] = self.rows + own_share * (chunk[:overlap] - self.rows)
        return blend


def read_rtc(options: Options | None, *, batch_size: int, horizon: int) -> list[Settled] | None:
    """Check ``options["rtc"]`` and take it apart.

    Args:
        options: The options that were given to `get_action`.
        batch_size: Number of rows of the observation.
        horizon: Number of steps of a chunk.

    Returns:
        One entry per row; None where the option is not given.

    Raises:
        SpecError: Naming each thing that is wrong.
    """
    rtc = (options or {}).get("rtc")
    if rtc is None:
        return None
    problems = list(_problems(rtc, batch_size, horizon))
    if problems:
        raise SpecError("bad options", [f"rtc: {problem}" for problem in problems])
    prefix = np.concatenate([rtc["prefix"][key] for key in DIMENSIONS], axis=-1).astype(np.float64)
    return [Settled(rows, int(rtc["frozen_steps"]), float(rtc["ramp_rate"])) for rows in prefix]


def _problems(rtc: Any, batch_size: int, horizon: int) -> Iterator[str]:
    if not isinstance(rtc, Mapping) or set(rtc) != set(FIELDS):
        yield f"expected a dict of {FIELDS}, got {rtc!r:.80}"
        return
    prefix, frozen, rate = (rtc[field] for field in FIELDS)
    overlaps = set()
    for key, dimension in DIMENSIONS.items():
        value = prefix.get(key) if isinstance(prefix, Mapping) else None
        shape = getattr(value, "shape", ())
        if len(shape) != 3 or shape[::2] != (batch_size, dimension) or value.dtype != np.float32:
            yield f"prefix.{key} must be float32 ({batch_size}, overlap, {dimension}), got {shape}"
        elif not np.isfinite(value).all():
            yield f"prefix.{key} has values that are not finite"
        else:
            overlaps.add(shape[1])
    overlap = max(overlaps, default=1)
    if len(overlaps) > 1 or not 1 <= overlap <= horizon:
        yield f"prefix must have 1 to {horizon} steps, as many in each key, got {sorted(overlaps)}"
    if isinstance(frozen, bool) or not isinstance(frozen, (int, np.integer)):
        yield f"frozen_steps must be an integer, got {frozen!r}"
    elif not 0 <= frozen <= overlap:
        yield f"frozen_steps must be 0 to the overlap of {overlap}, got {frozen}"
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1e3:
        yield f"ramp_rate must be a number from 0 to 1000, got {rate!r}"
