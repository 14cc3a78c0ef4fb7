# SPDX-License-Identifier: Apache-2.0
"""The pictures of the documentation that are made from data: `python -m bench.figures`.

docs/figures/blending.svg shows what each blend mode commands where a chunk of the demo's policy
takes over from another. docs/figures/demo.gif shows the demo's cameras in one episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from bench.motion_bench import Bench
from bench.motion_parts import DIMENSIONS, Case, Strategy, demo_contract
from bench.motion_run import Episode
from bench.processes import ROOT
from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_ros.control.motion_setup import make_player

FOLDER = ROOT / "docs" / "figures"
LATENCY_S, SEED = 0.1, 0
PERIOD_S = 0.01
SHOWN_S = (-0.2, 0.6)  # around the takeover
KEY = "single_arm"
FRAME_TICKS = 12  # control periods between two frames of the animation
FRAME_SIZE = (320, 240)
COLOURS = 96
Arrival = tuple[float, Chunk]

# What a policy that samples differs by from itself; the demo's own chunks agree within a few mrad.
DISAGREEMENT_RAD = 0.05
TAKEOVER = 4  # the chunk that takes over in the picture: the arm is in full motion

# For `rtc` the policy has to continue its chunks, which those of this picture do not.
DRAWN = tuple(mode.value for mode in BlendMode if mode is not BlendMode.RTC)
DEFAULT = ScheduleSettings().blend.value
GREY, ORANGE, BLUE = "#8a8a8a", "#d9822b", "#1f5fa8"


class FilmedEpisode(Episode):
    """An episode that also keeps its chunks, each with its time of arrival in s, and pictures."""

    def __init__(self, bench: Bench, case: Case) -> None:
        super().__init__(bench.arm, bench.expert, case)
        self.arrivals: list[Arrival] = []
        self.frames: list[NDArray[np.uint8]] = []
        self._ticks = 0

    def _offer(self, chunk: Chunk, now_ns: int) -> None:
        self.arrivals.append((now_ns * 1e-9, chunk))
        super()._offer(chunk, now_ns)

    def _move(self) -> None:
        super()._move()
        if self._ticks % FRAME_TICKS == 0:
            views = [self._arm.render(camera) for camera in ("front", "wrist")]
            small = [Image.fromarray(view).resize(FRAME_SIZE) for view in views]
            self.frames.append(np.concatenate([np.asarray(view) for view in small], axis=1))
        self._ticks += 1


def film() -> FilmedEpisode:
    """One whole episode, asked for a chunk as often as in the demo."""
    strategy = Strategy("demo", "offset_fade", often=True)
    episode = FilmedEpisode(Bench.make(), Case(strategy, LATENCY_S, SEED))
    episode.run()
    return episode


def commands(blend: str, arrivals: Sequence[Arrival], ends_s: float) -> NDArray[np.float64]:
    """What the control node commands when it is given these chunks, float64 (ticks, 6), rad.

    The robot follows perfectly: what was commanded is measured.
    """
    player = make_player(demo_contract(blend), ActionLayout(DIMENSIONS), {})
    waiting = list(arrivals)
    _, first = waiting[0]
    measured = np.concatenate([first.actions[key][0] for key in DIMENSIONS])
    rows = []
    for tick in range(round(ends_s / PERIOD_S)):
        now_ns = round(tick * PERIOD_S * 1e9)
        player.measure(dict(enumerate(measured.tolist())), now_ns)
        while waiting and waiting[0][0] <= tick * PERIOD_S + 1e-9:
            player.offer(waiting.pop(0)[1], now_ns)
        command = player.tick(now_ns)
        if command is not None:
            measured = np.concatenate([command.values[key] for key in DIMENSIONS])
        rows.append(measured[:6])
    return np.array(rows)


def takeover(arrivals: Sequence[Arrival]) -> tuple[list[Arrival], int]:
    """The chunks up to the takeover that is shown, the last one moved, and the fastest joint."""
    arrived_s, chunk = arrivals[TAKEOVER]
    moved = chunk.actions[KEY].copy()
    joint = int(np.abs(np.diff(moved[:10], axis=0)).mean(axis=0).argmax())
    moved[:, joint] += DISAGREEMENT_RAD
    last = replace(chunk, actions={**chunk.actions, KEY: moved})
    return [*arrivals[:TAKEOVER], (arrived_s, last)], joint


def draw_takeover(top: Axes, bottom: Axes, blend: str, arrivals: Sequence[Arrival]) -> None:
    """Position and velocity of one joint around a takeover: two chunks, and the commands."""
    known, joint = takeover(arrivals)
    taken_s = known[-1][0]
    commanded = commands(blend, known, taken_s + SHOWN_S[1])[:, joint]
    times_s = np.arange(len(commanded)) * PERIOD_S - taken_s
    for (_, chunk), colour in zip(known[-2:], (GREY, ORANGE), strict=True):
        values = chunk.actions[KEY][:, joint]
        steps_s = chunk.t0_ns * 1e-9 + chunk.dt_s * np.arange(len(values)) - taken_s
        top.plot(steps_s, values, "o", ms=3, color=colour)
    top.plot(times_s, commanded, color=BLUE, linewidth=1.8)
    bottom.plot(times_s[1:], np.diff(commanded) / PERIOD_S, color=BLUE, linewidth=1.4)
    top.set_title(f"{blend} (default)" if blend == DEFAULT else blend, fontsize=10, loc="left")
    for axes, values in ((top, commanded), (bottom, np.diff(commanded) / PERIOD_S)):
        shown = values[-round((SHOWN_S[1] - SHOWN_S[0]) / PERIOD_S) :]
        margin = 0.15 * np.ptp(shown)
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
        axes.axvline(0.0, color="#555555", linewidth=0.8, linestyle=":")
        axes.set_xlim(SHOWN_S)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)


def draw_blending(arrivals: Sequence[Arrival], path: Path) -> None:
    """Write the picture of the blend modes."""
    figure, axes = plt.subplots(
        *(2, len(DRAWN)), figsize=(9.5, 4.6), sharex=True, sharey="row", layout="constrained"
    )
    for column, blend in enumerate(DRAWN):
        draw_takeover(axes[0, column], axes[1, column], blend, arrivals)
    axes[0, 0].set_ylabel("joint (rad)", fontsize=9)
    axes[1, 0].set_ylabel("its velocity (rad/s)", fontsize=9)
    figure.supxlabel(
        "time since the second chunk arrived (s); "
        "grey and orange: steps of the two chunks, blue: commands",
        fontsize=9,
    )
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write_animation(frames: Sequence[NDArray[np.uint8]], path: Path) -> None:
    """A GIF of one palette, so that what does not move costs nothing."""
    palette = Image.fromarray(frames[len(frames) // 2]).quantize(COLOURS)
    pictures = [
        Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames
    ]
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=round(FRAME_TICKS * PERIOD_S * 1e3),
        loop=0,
        optimize=True,
    )


def main() -> int:
    """Draw all of them."""
    mpl.use("Agg")
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "gr00t_ros", "font.family": "sans-serif"}
    )
    episode = film()
    draw_blending(episode.arrivals, FOLDER / "blending.svg")
    write_animation(episode.frames, FOLDER / "demo.gif")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
