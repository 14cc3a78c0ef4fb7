# SPDX-License-Identifier: Apache-2.0
"""Limits of a request for actions, derived from the modality configs of the policy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.wire import jpeg
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS

logger = logging.getLogger(__name__)

EXTRA_ITEMS = 4096  # for options, and for entries of an observation that the policy ignores
ITEMS_PER_ARRAY = 16  # keys, values and sizes, in either dialect
DEFAULT_ROWS = 256  # where `max_batch` does not limit the rows
_BATCHED_DIMENSIONS = (3, 5)  # of states and videos, as `gr00t_policy_core.modality` lays them out


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits that the server enforces before it spends time and memory on a request.

    Args:
        items: How many keys, values and list items the data may have.
        rows: The largest B; None for any.
        cameras: The number of frames T that the policy reads of each camera, by its key; None
            if the policy does not name its cameras.
    """

    items: int = MAX_ITEMS
    rows: int | None = None
    cameras: Mapping[str, int] | None = None

    @classmethod
    def of(cls, policy: BasePolicy, max_batch: int) -> RequestLimits:
        """Derive the limits for requests to a policy.

        Args:
            policy: Without modality configs, or where reading them fails, only rows are limited.
            max_batch: The most rows of one call. 1 does not limit the rows of a request.
        """
        rows = max_batch if max_batch > 1 else None
        try:
            configs: dict[str, ModalityConfig] = getattr(policy, "get_modality_config", dict)()
            video, state, language = (configs.get(n) for n in ("video", "state", "language"))
            if video is None and state is None:
                return cls(rows=rows)
            keys = [
                (kind, key, len(config.delta_indices))
                for kind, config in (("array", video), ("array", state), ("text", language))
                if config is not None
                for key in config.modality_keys
            ]
        except Exception as error:  # raised by the policy's own code
            logger.warning("cannot limit requests by the policy's modality config: %s", error)
            return cls(rows=rows)
        items_per_row = sum(steps + 1 for _, _, steps in keys)  # JPEG frames, or lists of prompts
        items = EXTRA_ITEMS + ITEMS_PER_ARRAY * len(keys) + (rows or DEFAULT_ROWS) * items_per_row
        steps = 0 if video is None else len(video.delta_indices)
        cameras = dict.fromkeys([] if video is None else video.modality_keys, steps)
        return cls(min(items, MAX_ITEMS), rows, cameras)

    def check_rows(self, observation: Any) -> None:
        """Raise `SpecError` where an observation has more rows (B) than `rows`."""
        if self.rows is None or not isinstance(observation, dict):
            return
        # One entry of each modality is enough: a strict policy refuses entries of different B.
        rows = max(map(_rows, observation.values()), default=0)
        if rows > self.rows:
            raise SpecError(
                "bad observation",
                [
                    f"{rows} rows (B) in one request, at most {self.rows} are answered in one "
                    "call: send fewer, or start the server with a larger max_batch"
                ],
            )


def _rows(value: Any) -> int:
    """The B of one part of an observation, nested or flat; 0 where it has none."""
    kind = type(value)
    if kind is np.ndarray:
        return len(value) if value.ndim in _BATCHED_DIMENSIONS else 0
    if kind is not dict:
        return 0
    if jpeg.MARKER in value:
        return jpeg.announced_rows(value)
    return _rows(next(iter(value.values()), None))
