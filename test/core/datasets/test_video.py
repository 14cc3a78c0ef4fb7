# SPDX-License-Identifier: Apache-2.0
"""Videos: frames in and out, and parts of files that are copied without re-encoding."""

from fractions import Fraction

import numpy as np
import pytest

from gr00t_policy_core.datasets.video import (
    CODECS,
    VideoSettings,
    VideoWriter,
    concatenate,
    copy_frames,
    frame_rate,
    read_frames,
)
from gr00t_policy_core.errors import DatasetError, SpecError

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")

FPS, HEIGHT, WIDTH, FRAMES = 30, 32, 48, 13
ENCODED = 12.0  # levels of 255 that a frame may differ on average after encoding


def frame(index: int) -> np.ndarray:
    """A frame that tells its index: a bar that moves, and a level that grows."""
    pixels = np.full((HEIGHT, WIDTH, 3), 10 * index, np.uint8)
    pixels[:, 3 * index : 3 * index + 6] = (220, 30, 30)
    return pixels


def write(path, indices=range(FRAMES), codec="h264"):
    settings = VideoSettings(codec, 10)
    with VideoWriter(path, fps=FPS, height=HEIGHT, width=WIDTH, settings=settings) as video:
        for index in indices:
            video.add(frame(index))
    return path


def read(path, first=0, count=FRAMES):
    return list(read_frames(path, first=first, count=count, fps=FPS))


def difference(one, other) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_comes_back_in_its_place(tmp_path, codec):
    frames = read(write(tmp_path / "a.mp4", codec=codec))
    assert len(frames) == FRAMES
    for index, decoded in enumerate(frames):
        assert difference(decoded, frame(index)) < ENCODED
        others = [difference(decoded, frame(other)) for other in range(FRAMES) if other != index]
        assert difference(decoded, frame(index)) < min(others)


def test_the_same_frames_give_the_same_bytes_whatever_lies_in_the_memory(tmp_path):
    """x264 computes 1 in 50 small videos otherwise, from what lies behind its arrays."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 255, (6, 8, 3), np.uint8)
    frames = [np.kron(np.roll(blocks, i, axis=1), np.ones((8, 8, 1), np.uint8)) for i in range(40)]
    files, memory = set(), [b""] * 20
    for _ in range(200):
        memory[random.integers(20)] = bytes(random.integers(1, 200_000))
        with VideoWriter(
            tmp_path / "a.mp4", fps=FPS, height=48, width=64, settings=VideoSettings()
        ) as video:
            for pixels in frames:
                video.add(pixels)
        files.add((tmp_path / "a.mp4").read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("first", "stop"), [(0, 5), (4, 13), (6, 7), (2, 12)])
def test_a_copied_part_has_the_same_frames_bit_for_bit(tmp_path, codec, first, stop):
    whole = write(tmp_path / "a.mp4", codec=codec)
    copy_frames(whole, tmp_path / "b.mp4", first=first, stop=stop)
    expected = read(whole)[first:stop]
    np.testing.assert_array_equal(read(tmp_path / "b.mp4", count=stop - first), expected)


@pytest.mark.parametrize("codec", CODECS)
def test_joined_videos_have_the_same_frames_one_after_the_other(tmp_path, codec):
    parts = [
        write(tmp_path / f"{i}.mp4", range(i, i + length), codec)
        for i, length in ((0, 5), (2, 1), (4, 6))
    ]
    joined = tmp_path / "joined.mp4"
    concatenate(parts, joined, fps=FPS)
    expected = [*read(parts[0], count=5), *read(parts[1], count=1), *read(parts[2], count=6)]
    np.testing.assert_array_equal(read(joined, count=12), expected)
    np.testing.assert_array_equal(read(joined, first=5, count=1), expected[5:6])
    np.testing.assert_array_equal(read(joined, first=7, count=3), expected[7:10])


def test_a_part_begins_at_a_key_frame(tmp_path):
    whole = write(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"frames \[3, 5\) of .* cannot be copied"):
        copy_frames(whole, tmp_path / "b.mp4", first=3, stop=5)
    with pytest.raises(ValueError, match="cannot be copied"):
        copy_frames(whole, tmp_path / "b.mp4", first=0, stop=FRAMES + 1)


def test_a_cut_of_the_scene_moves_no_key_frame(tmp_path):
    """Otherwise the cameras of an episode could not be cut at the same step."""
    path = write(tmp_path / "a.mp4", [0, 0, 0, 12, 0, 12, 12, 0])
    for first in (0, 2, 4, 6):
        copy_frames(path, tmp_path / f"{first}.mp4", first=first, stop=8)


def test_a_video_of_odd_size_is_refused(tmp_path):
    with pytest.raises(SpecError, match="32x47 px: height and width of a video must be even"):
        VideoWriter(tmp_path / "a.mp4", fps=FPS, height=32, width=47, settings=VideoSettings())


def test_a_frame_of_another_size_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match=r"a frame of shape \(16, 48, 3\) in a video of"),
        VideoWriter(
            tmp_path / "a.mp4", fps=FPS, height=HEIGHT, width=WIDTH, settings=VideoSettings()
        ) as video,
    ):
        video.add(frame(0)[:16])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"codec": "vp9"}, "codec must be one of"),
        ({"quality": 52}, "quality of h264 must be 0 to 51, got 52"),
        ({"codec": "av1", "quality": -1}, "quality of av1 must be 0 to 63, got -1"),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, problem):
    with pytest.raises(SpecError, match=problem):
        VideoSettings(**settings)


def test_quality_decides_over_the_size(tmp_path):
    sizes = []
    for quality in (5, 45):
        path = tmp_path / f"{quality}.mp4"
        settings = VideoSettings(quality=quality)
        with VideoWriter(path, fps=FPS, height=HEIGHT, width=WIDTH, settings=settings) as video:
            for index in range(FRAMES):
                video.add(frame(index))
        sizes.append(path.stat().st_size)
    assert sizes[0] > 1.2 * sizes[1]


def test_a_damaged_or_short_video_is_named(tmp_path):
    path = write(tmp_path / "a.mp4")
    with pytest.raises(DatasetError, match=r"a\.mp4: has 13 frames from frame 0 on, expected 20"):
        read(path, count=20)
    with pytest.raises(DatasetError, match=r"b\.mp4: no such file"):
        read(tmp_path / "b.mp4")
    path.write_bytes(b"no video")
    with pytest.raises(DatasetError, match=r"a\.mp4: cannot be read as a video"):
        read(path)


def test_rates_are_exact_fractions():
    assert frame_rate(30.0) == 30
    assert frame_rate(29.97002997) == Fraction(30000, 1001)
    assert frame_rate(12.5) == Fraction(25, 2)
