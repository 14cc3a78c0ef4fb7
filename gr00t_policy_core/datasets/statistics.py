# SPDX-License-Identifier: Apache-2.0
"""Statistics of columns and pictures, as LeRobot and Isaac-GR00T store them.

LeRobot names them min, max, mean, std, count, q01, q10, q50, q90 and q99 (`compute_stats.py`);
Isaac-GR00T normalises with min, max, mean, std, q01 and q99 (`gr00t/data/stats.py`). Of a picture
they are over its pixels, for each channel in [0, 1], in the shape (3, 1, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
PIXELS_PER_AXIS = 150  # that a picture is sampled with, as LeRobot does

Histogram = npt.NDArray[np.int64]


def column_statistics(rows: npt.NDArray[Any]) -> dict[str, list[float]]:
    """The statistics of each value of a column.

    Args:
        rows: (rows, D) or (rows,), finite; at least one row.
    """
    values = rows.reshape(len(rows), -1).astype(np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
        "count": [len(values)],
        **{name: row.tolist() for name, row in zip(QUANTILES, quantiles, strict=True)},
    }


def pixel_histogram(image: npt.NDArray[np.uint8]) -> Histogram:
    """How often each channel of a picture has each level, int64 (3, 256), from a grid of pixels.

    Args:
        image: uint8 (H, W, 3).
    """
    steps = [max(1, size // PIXELS_PER_AXIS) for size in image.shape[:2]]
    pixels = image[:: steps[0], :: steps[1]].reshape(-1, 3)
    return np.stack([np.bincount(channel, minlength=256) for channel in pixels.T])


def pixel_statistics(histograms: Sequence[Histogram]) -> dict[str, Any]:
    """The statistics of the pictures whose histograms these are; ``count`` is their number."""
    counts = np.sum(histograms, axis=0).astype(np.float64)
    levels = np.arange(256) / 255.0
    totals = counts.sum(axis=1)
    mean = counts @ levels / totals
    std = np.sqrt(np.maximum(counts @ levels**2 / totals - mean**2, 0.0))
    present = counts > 0
    cumulative = np.cumsum(counts, axis=1) / totals[:, None]
    quantiles = {
        name: levels[(cumulative >= share).argmax(axis=1)] for name, share in QUANTILES.items()
    }
    statistics = {
        "min": levels[present.argmax(axis=1)],
        "max": levels[255 - present[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": std,
        **quantiles,
    }
    shaped = {name: values.reshape(3, 1, 1).tolist() for name, values in statistics.items()}
    return {**shaped, "count": [len(histograms)]}
