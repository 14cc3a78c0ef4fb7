# SPDX-License-Identifier: Apache-2.0
"""The options of a model's `get_action`: a seed, denoising steps, and real-time chunking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.embodiment import Embodiment
from gr00t_policy_core.models.common.relative import reference_problem

Array = NDArray[Any]

OPTIONS = ("seed", "rtc", "num_inference_timesteps")
RTC_OPTIONS = ("prefix", "frozen_steps", "ramp_rate")
MAX_SEED = 2**63
NUMBERS = (int, float, np.integer, np.floating)
ROUNDING = 1e-5  # relative error of float32 for normalizing and back
MAX_STEPS = 1000  # denoising steps


@dataclass(frozen=True, slots=True)
class RealTimeChunking:
    """Real-time chunking: a chunk that continues the one in execution.

    It follows Black et al. (2025) as N1.7's head implements it. The prefix replaces the noise in
    the steps where both chunks overlap. The first of these steps are frozen during denoising; the
    later steps move the more, the later they are.

    Args:
        prefix: ``{key: float32 (B, overlap, D)}``, the actions of the chunk in execution for the
            first steps of the new chunk, in physical units.
        frozen_steps: Steps that the robot executes before the new chunk arrives; they do not move.
        ramp_rate: Rate of the exponential ramp from frozen to free; 0 gives a linear ramp.
    """

    prefix: Mapping[str, Array]
    frozen_steps: int
    ramp_rate: float

    @property
    def overlap_steps(self) -> int:
        """Steps of the prefix."""
        return int(next(iter(self.prefix.values())).shape[1])

    def velocity_scale(self, horizon: int) -> Tensor:
        """The factor of each step's velocity in denoising: float32 (horizon, 1), 0 to 1."""
        scale = torch.ones(horizon, 1)
        scale[: self.frozen_steps] = 0.0
        between = self.overlap_steps - self.frozen_steps
        t = torch.linspace(0.0, 1.0, between + 2, dtype=torch.float64)
        ramp = t if self.ramp_rate == 0.0 else -torch.expm1(-self.ramp_rate * t)
        scale[self.frozen_steps : self.overlap_steps, 0] = (ramp / ramp[-1])[1:-1]
        return scale


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """The checked options of one call.

    Args:
        seed: Seed of the initial noise; None draws a new one each time.
        rtc: The prefix of real-time chunking; None for an independent chunk.
        denoising_steps: Number of Euler steps; None takes the policy's own.
    """

    seed: int | None = None
    rtc: RealTimeChunking | None = None
    denoising_steps: int | None = None


def clipped_steps(
    rtc: RealTimeChunking, embodiment: Embodiment, state: Mapping[str, Array]
) -> dict[str, Array]:
    """The difference of frozen steps from the prefix, whose values normalization clips.

    Args:
        rtc: The options of real-time chunking.
        embodiment: Normalizes and clips the actions.
        state: States ``{key: (B, T, D)}`` in physical units.

    Returns:
        ``{key: float32 (B, frozen_steps, D)}`` in physical units: the frozen step minus the prefix.
        Only keys whose difference exceeds rounding.
    """
    prefix = {key: values[:, : rtc.frozen_steps] for key, values in rtc.prefix.items()}
    if rtc.frozen_steps == 0:
        return {}
    encoded = embodiment.encode_action(prefix, state, embodiment.action_dim)
    kept = embodiment.decode_action(encoded, state)
    moved = {key: kept[key] - values for key, values in prefix.items()}
    return {
        key: difference
        for key, difference in moved.items()
        if np.abs(difference).max() > ROUNDING * max(1.0, float(np.abs(prefix[key]).max()))
    }


def read_options(
    options: Mapping[str, Any] | None, embodiment: Embodiment, batch: int
) -> InferenceOptions:
    """Check the options of a call.

    Args:
        options: ``{"seed": int, "rtc": {"prefix": …, "frozen_steps": int, "ramp_rate": float},
            "num_inference_timesteps": int}``; each is optional, and None means no options.
        embodiment: Its action keys and dimensions are those of the prefix.
        batch: B, the number of rows of the observation.

    Raises:
        SpecError: An option is unknown or wrong; the message names each.
    """
    if not options:
        return InferenceOptions()
    problems = [f"{key!r} is unknown; known are {OPTIONS}" for key in options if key not in OPTIONS]
    seed = options.get("seed")
    if seed is not None and not (_is_integer(seed) and 0 <= seed < MAX_SEED):
        problems.append(f"seed must be an integer from 0 to 2**63 - 1, got {seed!r}")
    steps = options.get("num_inference_timesteps")
    if steps is not None and not (_is_integer(steps) and 1 <= steps <= MAX_STEPS):
        problems.append(
            f"num_inference_timesteps must be an integer from 1 to {MAX_STEPS}, got {steps!r}"
        )
    rtc = options.get("rtc")
    if rtc is not None:
        problems += [f"rtc: {problem}" for problem in _rtc_problems(rtc, embodiment, batch)]
    if problems:
        raise SpecError("bad options", problems)
    return InferenceOptions(
        seed=None if seed is None else int(seed),
        rtc=None if rtc is None else _rtc(rtc, embodiment),
        denoising_steps=None if steps is None else int(steps),
    )


def _rtc(rtc: Mapping[str, Any], embodiment: Embodiment) -> RealTimeChunking:
    prefix = {key.name: rtc["prefix"][key.name] for key in embodiment.actions}
    return RealTimeChunking(prefix, int(rtc["frozen_steps"]), float(rtc["ramp_rate"]))


def _rtc_problems(rtc: Any, embodiment: Embodiment, batch: int) -> Iterator[str]:
    if not isinstance(rtc, Mapping) or set(rtc) != set(RTC_OPTIONS):
        given = sorted(map(str, rtc)) if isinstance(rtc, Mapping) else type(rtc).__name__
        yield f"expected a dict of {RTC_OPTIONS}, got {given}"
        return
    prefix, frozen, rate = rtc["prefix"], rtc["frozen_steps"], rtc["ramp_rate"]
    if not isinstance(prefix, Mapping):
        yield f"prefix must be a dict of the action's keys, got {type(prefix).__name__}"
        return
    overlaps = set()
    for key in embodiment.actions:
        value = prefix.get(key.name)
        expected = f"prefix.{key.name} must be float32 ({batch}, overlap, {key.dim})"
        if not isinstance(value, np.ndarray) or value.dtype != np.float32:
            yield f"{expected}, got {getattr(value, 'dtype', type(value).__name__)}"
        elif value.ndim != 3 or value.shape[::2] != (batch, key.dim):
            yield f"{expected}, got shape {value.shape}"
        elif not np.isfinite(value).all():
            yield f"prefix.{key.name} has values that are not finite"
        else:
            overlaps.add(value.shape[1])
            problem = None if key.relative is None else reference_problem(value, key.relative)
            if problem is not None:
                yield f"prefix.{key.name}: {problem}"
    if isinstance(rate, bool) or not isinstance(rate, NUMBERS) or not 0 <= rate < 1e3:
        yield f"ramp_rate must be a number from 0 to 1000, got {rate!r}"
    if not overlaps:  # the problems of the prefix are reported already
        return
    if len(overlaps) > 1:
        yield f"prefix must have the same number of steps in each key, got {sorted(overlaps)}"
        return
    overlap = overlaps.pop()
    if not 1 <= overlap <= embodiment.horizon:
        yield f"prefix must have 1 to {embodiment.horizon} steps, got {overlap}"
        return
    if not _is_integer(frozen) or not 0 <= frozen <= overlap:
        yield f"frozen_steps must be an integer from 0 to the overlap of {overlap}, got {frozen!r}"


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
