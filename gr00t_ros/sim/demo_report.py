# SPDX-License-Identifier: Apache-2.0
"""What the demo shows at its end: one line of figures, and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # there may be no display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from gr00t_ros.sim.demo_recorder import DemoRecorder, JointHistory

# Position-controlled servos trail a moving target; more than this is not following.
FOLLOWED_RMS_RAD = 0.1
MOVED_RAD = 0.3
JOINTS = (
    *("shoulder_pan", "shoulder_lift", "elbow_flex"),
    *("wrist_flex", "wrist_yaw", "wrist_roll"),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one demo: times in s, rate in Hz, error and travel in rad."""

    chunks: int
    commands: int
    control_rate_hz: float
    round_trip_p50_s: float
    round_trip_p99_s: float
    tracking_error_rad: float
    travel_rad: float
    lifts: bool

    @property
    def followed(self) -> bool:
        """Whether the arm moved, and stayed with what was commanded."""
        return self.travel_rad > MOVED_RAD and self.tracking_error_rad < FOLLOWED_RMS_RAD

    def __str__(self) -> str:
        return (
            f"{self.chunks} chunks, {self.commands} commands at {self.control_rate_hz:.1f} Hz, "
            f"round trip p50 {1e3 * self.round_trip_p50_s:.1f} ms "
            f"p99 {1e3 * self.round_trip_p99_s:.1f} ms, "
            f"tracking error {self.tracking_error_rad:.4f} rad RMS, "
            f"cube {'lifted' if self.lifts else 'not lifted'}: "
            f"the arm {'followed' if self.followed else 'did NOT follow'}"
        )


def summarise(recorder: DemoRecorder) -> Summary:
    """The figures of what was recorded."""
    commanded, measured = recorder.commanded, recorder.measured
    times_s = commanded.times_s
    lasted_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
    round_trips_s = recorder.round_trips_s or [float("nan")]
    error_rad, travel_rad = _tracking(commanded, measured)
    return Summary(
        chunks=len(recorder.round_trips_s),
        commands=len(times_s),
        control_rate_hz=(len(times_s) - 1) / lasted_s if lasted_s else 0.0,
        round_trip_p50_s=float(np.percentile(round_trips_s, 50)),
        round_trip_p99_s=float(np.percentile(round_trips_s, 99)),
        tracking_error_rad=error_rad,
        travel_rad=travel_rad,
        lifts=recorder.lifted_picture is not None,
    )


def write_pictures(recorder: DemoRecorder, folder: Path) -> list[Path]:
    """Write `joints.png`, and `lifted.png` where a cube was lifted; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    if recorder.commanded.positions and recorder.measured.positions:
        pictures.append(_write_joints(recorder, folder / "joints.png"))
    if recorder.lifted_picture is not None:
        path = folder / "lifted.png"
        plt.imsave(path, recorder.lifted_picture)
        pictures.append(path)
    return pictures


def _tracking(commanded: JointHistory, measured: JointHistory) -> tuple[float, float]:
    """RMS distance between commanded and measured joints, and the largest travel, rad."""
    if len(commanded.times_s) < 2 or len(measured.times_s) < 2:
        return float("nan"), 0.0
    wanted = commanded.of(JOINTS)
    got = _at(measured, commanded.times_s)
    error_rad = float(np.sqrt(np.mean((wanted - got) ** 2)))
    return error_rad, float(np.max(np.ptp(got, axis=0)))


def _at(history: JointHistory, times_s: list[float]) -> NDArray[np.float64]:
    """The joints at these times, linearly between samples."""
    columns = history.of(JOINTS).T
    return np.stack([np.interp(times_s, history.times_s, column) for column in columns], axis=1)


def _write_joints(recorder: DemoRecorder, path: Path) -> Path:
    commanded, measured = recorder.commanded, recorder.measured
    start_s = commanded.times_s[0]
    names = (*JOINTS, "gripper")
    figure, axes = plt.subplots(len(names), 1, sharex=True, figsize=(11, 13))
    for axis, name in zip(axes, names, strict=True):
        unit = "m" if name == "gripper" else "rad"
        for history, label, style in (
            (commanded, "commanded", {"color": "tab:orange", "linewidth": 2.2, "alpha": 0.8}),
            (measured, "measured", {"color": "tab:blue", "linewidth": 1.0}),
        ):
            times = np.asarray(history.times_s) - start_s
            axis.plot(times, history.of([name])[:, 0], label=label, **style)
        if recorder.lifted_at_s is not None:
            axis.axvline(recorder.lifted_at_s - start_s, color="0.7", linewidth=0.8)
        _widen(axis, 0.005 if unit == "m" else 0.1)
        axis.set_ylabel(f"{name}\n[{unit}]")
        axis.grid(alpha=0.3)
    # Above the curves, which may be anywhere.
    axes[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)
    axes[0].set_title("Joints of the arm (grey line: cube lifted, see lifted.png)", loc="left")
    axes[-1].set_title("it closes on the cube, short of its command", fontsize="small", loc="right")
    axes[-1].set_xlim(left=0.0)
    axes[-1].set_xlabel("time [s]")
    figure.align_ylabels(axes)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _widen(axis: Axes, least: float) -> None:
    """Show at least this span, so that noise on a joint at rest does not look like motion."""
    low, high = axis.get_ylim()
    margin = max(0.0, least - (high - low)) / 2
    axis.set_ylim(low - margin, high + margin)
