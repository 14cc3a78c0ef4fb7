# SPDX-License-Identifier: Apache-2.0
"""Videos of a dataset: frames in and out, one at a time, and parts of files without re-encoding.

Every second frame is a key frame, as LeRobot's videos have it: training reads single frames in any
order. No frame refers to a later one, so a video can be cut after any frame and before any key
frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from gr00t_policy_core.datasets.schema import PIXEL_FORMAT
from gr00t_policy_core.errors import DatasetError, SpecError

Image = npt.NDArray[np.uint8]

KEY_FRAME_INTERVAL = 2  # frames, LeRobot's `g`
CODECS = ("h264", "av1")
# The encoder of each codec, its quality where none is given, and what keeps the key frames in step.
_ENCODERS = {"h264": "libx264", "av1": "libsvtav1"}
_QUALITIES = {"h264": 23, "av1": 30}
_QUALITY_RANGES = {"h264": 51, "av1": 63}
# cpu-independent: without it x264 encodes 1 in 50 small videos differently from the same frames.
_X264_PARAMS = "scenecut=0:cpu-independent=1:log-level=error"
_OPTIONS = {
    "h264": {"preset": "veryfast", "bf": "0", "x264-params": _X264_PARAMS},
    "av1": {"preset": "12", "svtav1-params": "scd=0:pred-struct=1"},
}
FPS_DENOMINATOR = 1001  # enough for 29.97 Hz = 30000/1001


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """How videos are encoded.

    Args:
        codec: One of `CODECS`.
        quality: The encoder's constant rate factor: 0 is lossless, higher is smaller; None for a
            good one.
        threads: Threads of each encoder.

    Raises:
        SpecError: A setting is outside its range.
    """

    codec: str = "h264"
    quality: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise SpecError("bad video", [f"codec must be one of {CODECS}, got {self.codec!r}"])
        highest = _QUALITY_RANGES[self.codec]
        if self.quality is not None and not 0 <= self.quality <= highest:
            raise SpecError(
                "bad video", [f"quality of {self.codec} must be 0 to {highest}, got {self.quality}"]
            )


class VideoWriter:
    """Encodes the frames of one MP4 file as they come; use it as a context manager.

    Args:
        file: The path of the new file.
        fps: Frames per second.
        height: Height in px, even.
        width: Width in px, even.
        settings: How the video is encoded.

    Raises:
        SpecError: The size is odd, which yuv420p cannot have.
        ImportError: PyAV is not installed.
    """

    def __init__(
        self, file: Path, *, fps: float, height: int, width: int, settings: VideoSettings
    ) -> None:
        av = import_av()
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes only errors to stderr
        if height % 2 or width % 2:
            raise SpecError(
                "bad video", [f"{height}x{width} px: height and width of a video must be even"]
            )
        self._av = av
        self._shape = (height, width, 3)
        codec = settings.codec
        quality = _QUALITIES[codec] if settings.quality is None else settings.quality
        options = {"g": str(KEY_FRAME_INTERVAL), "crf": str(quality), **_OPTIONS[codec]}
        self._container = av.open(str(file), "w")
        rate = frame_rate(fps)
        self._stream = self._container.add_stream(_ENCODERS[codec], rate=rate, options=options)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = PIXEL_FORMAT
        self._stream.codec_context.thread_count = settings.threads
        self._stream.codec_context.time_base = 1 / rate
        self._frames = 0

    def add(self, image: Image) -> None:
        """Encode one frame.

        Args:
            image: uint8 (H, W, 3) RGB.

        Raises:
            ValueError: It has another size than the video.
        """
        if image.shape != self._shape:
            raise ValueError(f"a frame of shape {image.shape} in a video of {self._shape}")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = self._frames
        self._frames += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and the index; the file is complete then."""
        self._container.mux(self._stream.encode())
        self._container.close()

    def abandon(self) -> None:
        """Close the file, which stays incomplete."""
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()


def read_frames(file: Path, *, first: int, count: int, fps: float) -> Iterator[Image]:
    """Decode some frames of a video, one at a time.

    Args:
        file: The path of the video.
        first: The index of the first frame.
        count: The number of frames.
        fps: Frames per second.

    Yields:
        uint8 (H, W, 3) RGB.

    Raises:
        DatasetError: The file is missing or damaged, or has fewer frames.
        ImportError: PyAV is not installed.
    """
    av = import_av()
    if not file.is_file():
        raise DatasetError(file, "no such file")
    rate = frame_rate(fps)
    found = 0
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if first:
                container.seek(round(first / rate / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                index = round(frame.pts * stream.time_base * rate)
                if index < first:
                    continue
                if found == count:
                    break
                found += 1
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise DatasetError(file, f"cannot be read as a video: {error}") from error
    if found < count:
        raise DatasetError(file, f"has {found} frames from frame {first} on, expected {count}")


def copy_frames(source: Path, target: Path, *, first: int, stop: int) -> None:
    """Copy frames ``[first, stop)`` of a `VideoWriter`'s file to a new file, without re-encoding.

    Raises:
        ValueError: `first` is not a key frame, or the video has fewer than `stop` frames.
    """
    av = import_av()
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream, opaque=True)
        packets = [p for p in reader.demux(stream) if p.size]
        if stop > len(packets) or not packets[first].is_keyframe:
            raise ValueError(f"frames [{first}, {stop}) of {source} cannot be copied")
        start = packets[first].pts
        for packet in packets[first:stop]:
            _mux(writer, copy, packet, packet.pts - start)


def concatenate(sources: Sequence[Path], target: Path, *, fps: float) -> None:
    """Join videos of one codec and size to a new file, without re-encoding."""
    av = import_av()
    period = 1 / frame_rate(fps)
    frames = 0
    with av.open(str(target), "w") as writer:
        copy: Any = None
        for source in sources:
            with av.open(str(source)) as reader:
                stream = reader.streams.video[0]
                copy = copy or writer.add_stream_from_template(stream, opaque=True)
                offset = round(frames * period / stream.time_base)
                for packet in reader.demux(stream):
                    if packet.size:
                        _mux(writer, copy, packet, packet.pts + offset)
                        frames += 1


def frame_rate(fps: float) -> Fraction:
    """The rate as a fraction: 30 for 30.0, 30000/1001 for 29.97."""
    return Fraction(fps).limit_denominator(FPS_DENOMINATOR)


def import_av() -> Any:
    """The module of PyAV.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "the videos of a dataset need PyAV: run pip install '.[convert]' in the folder of "
            "gr00t_ros"
        ) from error
    return av


def _mux(writer: Any, stream: Any, packet: Any, pts: int) -> None:
    packet.pts = packet.dts = pts  # one order: no frame refers to a later one
    packet.stream = stream
    writer.mux(packet)
