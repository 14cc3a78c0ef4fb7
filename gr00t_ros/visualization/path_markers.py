# SPDX-License-Identifier: Apache-2.0
"""The paths of a chunk as markers: coloured by time, with the blend and the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from geometry_msgs.msg import Point
from rclpy.duration import Duration
from rclpy.time import Time
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from gr00t_policy_core.control.chunk import Row
from gr00t_ros.visualization.received_chunk import ReceivedChunk
from gr00t_ros.visualization.tip_paths import TipPath

WIDTH_M, BLEND_WIDTH_M, END_M = 0.004, 0.009, 0.016
FIRST, LAST = np.array([0.1, 0.4, 1.0]), np.array([1.0, 0.45, 0.0])  # blue to orange
PAST_ALPHA = 0.25  # steps whose time had passed on arrival
BLEND_COLOR = ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.6)
LEAST_LIFETIME_S = 2.0


def path_markers(paths: Iterable[TipPath], received: ReceivedChunk, blend_s: float) -> MarkerArray:
    """Draw each path as a line, the blend as a wider one, and the last step as a ball.

    Args:
        paths: One for each tip, with a point for each step of the chunk.
        received: The chunk and its arrival.
        blend_s: How long the control node blends after the arrival; 0 for no blend.
    """
    markers = [marker for path in paths for marker in _markers(path, received, blend_s)]
    return MarkerArray(markers=markers)


def no_markers() -> MarkerArray:
    """What removes all markers."""
    return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def _markers(path: TipPath, received: ReceivedChunk, blend_s: float) -> Iterator[Marker]:
    times_s = received.times_s
    lifetime_s = max(LEAST_LIFETIME_S, float(times_s[-1]))
    colors = [_color(share, time) for share, time in zip(_shares(times_s), times_s, strict=True)]

    def marker(kind: str, shape: int, scale: tuple[float, float, float]) -> Marker:
        drawn = Marker(ns=f"{kind}/{path.name}", type=shape, action=Marker.ADD)
        drawn.header.frame_id = path.frame_id
        drawn.header.stamp = Time(nanoseconds=received.chunk.t0_ns).to_msg()
        drawn.pose.orientation.w = 1.0
        drawn.scale.x, drawn.scale.y, drawn.scale.z = scale
        drawn.lifetime = Duration(seconds=lifetime_s).to_msg()
        return drawn

    if len(path.points) > 1:  # a line of one point is an error to RViz
        line = marker("path", Marker.LINE_STRIP, (WIDTH_M, 0.0, 0.0))
        line.points, line.colors = _points(path.points), colors
        yield line
    blend = marker("blend", Marker.LINE_STRIP, (BLEND_WIDTH_M, 0.0, 0.0))
    blended = _between(path.points, times_s, 0.0, blend_s)
    blend.points, blend.color = _points(blended), BLEND_COLOR
    if len(blended) < 2:
        blend.action = Marker.DELETE
    yield blend
    end = marker("end", Marker.SPHERE, (END_M, END_M, END_M))
    end.color = colors[-1]
    end.pose.position = _points(path.points[-1:])[0]
    yield end


def _between(points: Row, times_s: Row, begin_s: float, end_s: float) -> Row:
    """The part of a path between two times, with interpolated ends; (0, 3) if there is none."""
    begin_s, end_s = max(begin_s, float(times_s[0])), min(end_s, float(times_s[-1]))
    if begin_s >= end_s:
        return np.empty((0, 3))
    inner = times_s[(times_s > begin_s) & (times_s < end_s)]
    wanted = np.concatenate([[begin_s], inner, [end_s]])
    return np.stack([np.interp(wanted, times_s, points[:, axis]) for axis in range(3)], axis=1)


def _shares(times_s: Row) -> Row:
    """How far each step is along the chunk, 0 to 1."""
    return np.linspace(0.0, 1.0, len(times_s))


def _color(share: float, time_s: float) -> ColorRGBA:
    r, g, b = (FIRST + share * (LAST - FIRST)).tolist()
    return ColorRGBA(r=r, g=g, b=b, a=1.0 if time_s >= 0.0 else PAST_ALPHA)


def _points(points: Row) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]
