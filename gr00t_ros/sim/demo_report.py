# SPDX-License-Identifier: Apache-2.0
"""The demo's report at its end: one line of numbers, and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # there may be no display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from gr00t_ros.sim.demo_recorder import DemoRecorder, JointHistory

# Position-controlled servos trail a moving target; more than this is not following.
FOLLOWED_RMS_RAD = 0.1
MOVED_RAD = 0.3
LONGEST_LAG_S = 0.5
LAGS_S = np.arange(0.0, LONGEST_LAG_S + 0.005, 0.01)
RATE_HZ = 100.0  # of commands (config/demo.yaml) and of joint states (sim_node)
BUSY = 0.05  # a machine that takes away more than this part of either is busy
JOINTS = (
    *("shoulder_pan", "shoulder_lift", "elbow_flex"),
    *("wrist_flex", "wrist_yaw", "wrist_roll"),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one demo: times in s, rates in Hz, error and travel in rad.

    The error is that of the arm against what had been commanded `lag_s` before.
    """

    chunks: int
    commands: int
    control_rate_hz: float
    ticks_missed: float  # part of the control node's ticks, 0 to 1
    joint_state_rate_hz: float
    round_trip_p50_s: float
    round_trip_p99_s: float
    tracking_error_rad: float
    lag_s: float
    travel_rad: float
    cubes: str
    overdue: tuple[str, ...]

    @property
    def followed(self) -> bool:
        """Whether the arm moved, and stayed with what was commanded."""
        return self.travel_rad > MOVED_RAD and self.tracking_error_rad < FOLLOWED_RMS_RAD

    @property
    def succeeded(self) -> bool:
        """Whether the arm followed, and lifted every cube that it had time for."""
        return self.followed and not self.overdue

    @property
    def busy(self) -> str:
        """How other work on this machine disturbed the demo; empty if it hardly did."""
        taken = []
        if self.ticks_missed > BUSY:
            taken.append(f"the control node missed {self.ticks_missed:.0%} of its ticks")
        if self.joint_state_rate_hz < (1.0 - BUSY) * RATE_HZ:
            taken.append(
                f"the simulated arm ran at {self.joint_state_rate_hz:.0f} Hz instead of "
                f"{RATE_HZ:.0f}"
            )
        return " and ".join(taken)

    @property
    def verdict(self) -> str:
        """Whether the arm followed and did what it was asked for, in words."""
        if not self.followed:
            did_not = "the arm did NOT follow"
            return did_not if not self.busy else "cannot tell whether the arm followed"
        if not self.overdue:
            return "the arm followed"
        missed = f"the arm followed, and did NOT lift {', '.join(self.overdue)}"
        return f"{missed}, maybe since this machine is busy" if self.busy else missed

    def __str__(self) -> str:
        busy = f"\ndemo: this machine is busy: {self.busy}" if self.busy else ""
        return (
            f"{self.chunks} chunks, {self.commands} commands at {self.control_rate_hz:.1f} Hz, "
            f"round trip p50 {1e3 * self.round_trip_p50_s:.1f} ms "
            f"p99 {1e3 * self.round_trip_p99_s:.1f} ms, "
            f"tracking error {self.tracking_error_rad:.4f} rad RMS "
            f"after {1e3 * self.lag_s:.0f} ms, "
            f"{self.cubes}: {self.verdict}{busy}"
        )


def summarise(recorder: DemoRecorder) -> Summary:
    """Compute the summary of a recording."""
    commanded, measured = recorder.commanded, recorder.measured
    round_trips_s = recorder.round_trips_s or [float("nan")]
    error_rad, lag_s = _tracking(commanded, measured)
    return Summary(
        chunks=len(recorder.round_trips_s),
        commands=len(commanded.times_s),
        control_rate_hz=_rate_hz(commanded),
        ticks_missed=recorder.ticks_missed / max(1, recorder.ticks + recorder.ticks_missed),
        joint_state_rate_hz=_rate_hz(measured),
        round_trip_p50_s=float(np.percentile(round_trips_s, 50)),
        round_trip_p99_s=float(np.percentile(round_trips_s, 99)),
        tracking_error_rad=error_rad,
        lag_s=lag_s,
        travel_rad=_travel_rad(measured),
        cubes=str(recorder.cubes),
        overdue=tuple(request.colour for request in recorder.cubes.overdue),
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


def _rate_hz(history: JointHistory) -> float:
    times_s = history.times_s
    lasted_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
    return (len(times_s) - 1) / lasted_s if lasted_s else 0.0


def _travel_rad(measured: JointHistory) -> float:
    """The largest travel of a joint."""
    return float(np.max(np.ptp(measured.of(JOINTS), axis=0))) if measured.times_s else 0.0


def _tracking(commanded: JointHistory, measured: JointHistory) -> tuple[float, float]:
    """RMS distance of the joints from their commands, rad, at the lag in s where it is least.

    Each measured position is compared with the newest command of its time. While a busy machine
    keeps the arm waiting, nothing is measured, and that time does not count. Nor does the time
    without commands, in which the arm is put home.
    """
    if not commanded.times_s or not measured.times_s:
        return float("nan"), float("nan")
    times_s = np.asarray(measured.times_s)
    is_judged = (times_s >= commanded.times_s[0] + LONGEST_LAG_S) & (
        times_s <= commanded.times_s[-1]
    )
    sent_s = np.asarray(commanded.times_s)
    since_command_s = times_s - sent_s[np.searchsorted(sent_s, times_s, side="right") - 1]
    is_judged &= since_command_s < LONGEST_LAG_S
    if not is_judged.any():
        return float("nan"), float("nan")
    got, wanted = measured.of(JOINTS)[is_judged], commanded.of(JOINTS)
    errors_rad = []
    for lag_s in LAGS_S:
        newest = np.searchsorted(commanded.times_s, times_s[is_judged] - lag_s, side="right") - 1
        errors_rad.append(float(np.sqrt(np.mean((wanted[np.maximum(newest, 0)] - got) ** 2))))
    best = int(np.argmin(errors_rad))
    return errors_rad[best], float(LAGS_S[best])


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
