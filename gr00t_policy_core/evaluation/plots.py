# SPDX-License-Identifier: Apache-2.0
"""The plots of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gr00t_policy_core.evaluation.accuracy import KeyAccuracy
from gr00t_policy_core.evaluation.open_loop import EpisodeResult
from gr00t_policy_core.html_page import subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_episode(results: Mapping[str, EpisodeResult], key: str, names: Sequence[str]) -> Figure:
    """Recorded and predicted actions of a key along one episode, a plot for each value.

    Args:
        results: What each policy answered, by its name.
        key: The action key.
        names: The names of its values.
    """
    figure, axes = subplots(len(names))
    for number, (axis, name) in enumerate(zip(axes, names, strict=True)):
        first = next(iter(results.values()))
        axis.plot(first.recorded[key][:, number], color="black", linewidth=1.6, label="recorded")
        for place, (policy, result) in enumerate(results.items()):
            predicted = result.predicted[key][:, number]
            color = f"C{place}"
            axis.plot(predicted, color=color, linewidth=1.1, label=policy)
            axis.plot(result.starts, predicted[result.starts], ".", color=color, markersize=4)
        axis.set_ylabel(name, fontsize="small")
    above: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0)}
    axes[0].legend(**above, fontsize="small", ncols=4, frameon=False)
    axes[-1].set_xlabel("step")
    return figure


def plot_horizon(keys: Mapping[str, KeyAccuracy]) -> Figure:
    """The mean absolute error of a key by step of the chunk.

    Args:
        keys: The errors of each policy, by its name.
    """
    figure, (axis,) = subplots(1, height_in=2.0)
    for policy, key in keys.items():
        axis.plot(np.arange(len(key.mae_by_step)), key.mae_by_step, ".-", label=policy)
    axis.set_xlabel("step of the chunk")
    axis.set_ylabel("MAE")
    axis.set_ylim(bottom=0.0)
    axis.legend(fontsize="small", frameon=False)
    return figure
