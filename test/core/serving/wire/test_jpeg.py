# SPDX-License-Identifier: Apache-2.0
"""Images as JPEG on the wire: only to servers that accept them, and never more than announced."""

import threading

import numpy as np
import pytest
from peers.stock import StockServer
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import PolicyClient, PolicyServer, ProtocolError, RemoteError, SpecError
from gr00t_policy_core.serving import JpegVideo
from gr00t_policy_core.serving.wire import jpeg as images

simplejpeg = pytest.importorskip("simplejpeg", reason="pip install '.[jpeg]'")


class Watching(ToyPolicy):
    def _get_action(self, observation, options=None):
        self.video = observation["video"]
        return super()._get_action(observation, options)


def smooth_observation(batch=1):
    """Pictures that JPEG keeps well: ramps."""
    observation = toy_observation(batch)
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    for key in observation["video"]:
        observation["video"][key] = np.broadcast_to(
            ramp[None, None, None, :, None], (batch, 1, 48, 64, 3)
        ).copy()
    return observation


@pytest.fixture
def watching():
    policy = Watching()
    with PolicyServer(policy, host="127.0.0.1", port=0) as server:
        yield policy, server


def client_of(server, **settings):
    return PolicyClient("127.0.0.1", server.port, timeout_ms=10_000, **settings)


def test_pictures_travel_as_jpeg_where_the_server_takes_them(watching):
    policy, server = watching
    observation = smooth_observation(batch=2)
    raw = observation["video"]["front"].nbytes * 2
    with client_of(server, image_encoding="jpeg", quality=95) as client:
        assert "jpeg" in client.get_capabilities()
        before = server.metrics()["received_bytes"]
        client.get_action(observation)
        assert server.metrics()["received_bytes"] - before < raw / 3
    for key, pixels in observation["video"].items():
        got = policy.video[key]
        assert (got.shape, got.dtype, got.flags.writeable) == (pixels.shape, np.uint8, False)
        assert np.abs(got.astype(int) - pixels).max() < 8


def test_a_server_that_does_not_say_so_gets_pixels(line):
    observation = smooth_observation()
    with (
        StockServer(line) as server,
        client_of(server, image_encoding="jpeg", strict=False) as client,
    ):
        client.get_action(observation)
        sent = server.requests[-1]["data"]["observation"]["video"]["front"]
        np.testing.assert_array_equal(sent, observation["video"]["front"])


def test_without_simplejpeg_a_server_takes_pixels_only(watching, monkeypatch):
    policy, server = watching
    with client_of(server, image_encoding="jpeg") as client:
        monkeypatch.setattr(images, "is_available", lambda: False)
        assert "jpeg" not in client.get_capabilities()
        observation = smooth_observation()
        client.get_action(observation)
        np.testing.assert_array_equal(policy.video["front"], observation["video"]["front"])


@pytest.mark.parametrize("image_encoding", ["jpeg", "raw"])
def test_what_is_jpeg_already_goes_as_it_is(watching, image_encoding):
    policy, server = watching
    observation = smooth_observation()
    frame = simplejpeg.encode_jpeg(observation["video"]["front"][0, 0], 80)
    observation["video"]["front"] = JpegVideo([frame], (1, 1, 48, 64, 3))
    with client_of(server, image_encoding=image_encoding) as client:
        client.get_action(observation)
    np.testing.assert_array_equal(policy.video["front"][0, 0], simplejpeg.decode_jpeg(frame))


def test_others_are_answered_while_pictures_are_decoded(watching, monkeypatch):
    _, server = watching
    decode, entered, may_go_on = images.from_jpeg, threading.Event(), threading.Event()

    def held(observation, cameras):
        entered.set()
        assert may_go_on.wait(10)
        return decode(observation, cameras)

    monkeypatch.setattr(images, "from_jpeg", held)
    with client_of(server, image_encoding="jpeg") as client, client_of(server) as other:
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(client.get_action(smooth_observation()))
        )
        asking.start()
        try:
            assert entered.wait(10)
            assert other.ping()
            assert other.call_endpoint("metrics")["in_progress"] == "get_action"
        finally:
            may_go_on.set()
            asking.join()
        assert len(answers) == 1


def test_a_bare_ping_is_still_a_stock_servers(server, sockets):
    import msgpack
    import zmq

    asking = sockets.socket(zmq.REQ)
    asking.connect(f"tcp://127.0.0.1:{server.port}")
    asking.send(msgpack.packb({"endpoint": "ping"}))
    assert msgpack.unpackb(asking.recv()) == {"status": "ok", "message": "Server is running"}


def as_jpeg(shape, frames):
    return {"video": {"front": {"__jpeg__": True, "shape": shape, "frames": frames}}}


FRAME = simplejpeg.encode_jpeg(np.zeros((48, 64, 3), np.uint8))
SHAPE = [1, 1, 48, 64, 3]


@pytest.mark.parametrize(
    ("shape", "frames", "says"),
    [
        ([1, 1, 48, 64], [FRAME], "shape must be"),
        ([1, 1, 48, 64, 4], [FRAME], "shape must be"),
        ("text", [FRAME], "shape must be"),
        ([1, 1, 0, 64, 3], [FRAME], "at least 1"),
        ([1, True, 48, 64, 3], [FRAME], "at least 1"),
        ([1, 1, 10**6, 10**6, 3], [FRAME], "at most"),
        ([10**9, 1, 48, 64, 3], [FRAME], "at most"),
        ([2, 1, 48, 64, 3], [FRAME], "needs 2 images"),
        (SHAPE, FRAME, "needs 1 images"),
        (SHAPE, ["text"], "must be bytes"),
        (SHAPE, [b""], "not a JPEG"),
        (SHAPE, [b"\x89PNG\r\n\x1a\n" + bytes(100)], "not a JPEG"),
        ([1, 1, 64, 48, 3], [FRAME], "was announced"),
    ],
)
def test_pictures_that_are_not_what_they_say_are_refused_unseen(watching, shape, frames, says):
    _, server = watching
    with pytest.raises(ProtocolError, match=says):
        images.from_jpeg(as_jpeg(shape, frames))
    with client_of(server, strict=False) as client:
        reply = client.send_request("get_action", {"observation": as_jpeg(shape, frames)})
        assert says in reply["error"]
        assert client.ping()


@pytest.mark.parametrize(
    "settings", [{"image_encoding": "png"}, {"quality": 0}, {"quality": 101}, {"quality": 9.5}]
)
def test_settings_that_make_no_jpeg_are_refused(settings):
    with pytest.raises(SpecError, match="bad client setting"):
        PolicyClient(**settings)


def test_the_extra_is_named_where_simplejpeg_is_not_installed(monkeypatch):
    monkeypatch.setattr(images, "is_available", lambda: False)
    with pytest.raises(ImportError, match=r"\.\[jpeg\]"):
        PolicyClient(image_encoding="jpeg")


def test_frames_must_be_as_many_as_the_shape_says():
    with pytest.raises(SpecError, match="2 images for shape"):
        JpegVideo([FRAME, FRAME], (1, 1, 48, 64, 3))


def damaged(frame, generator):
    """The frame with a part lost, changed, or added, or without its end."""
    data, at = bytearray(frame), int(generator.integers(2, len(frame) - 2))
    kind = generator.integers(4)
    if kind == 0:
        del data[at : at + int(generator.integers(1, 400))]
    elif kind == 1:
        data[at] = int(generator.integers(256))
    elif kind == 2:
        data[at:at] = generator.bytes(int(generator.integers(1, 20)))
    else:
        del data[at:]
    return bytes(data)


def is_refused(read, frame):
    try:
        read(frame)
    except ProtocolError:
        return True
    return False


def test_a_check_finds_the_damage_that_decoding_finds():
    generator = np.random.default_rng(0)
    whole = simplejpeg.encode_jpeg(generator.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    assert not is_refused(images.check_jpeg, whole)
    frames = [damaged(whole, generator) for _ in range(500)]
    found = [is_refused(images.decode_jpeg, frame) for frame in frames]
    assert [is_refused(images.check_jpeg, frame) for frame in frames] == found
    assert sum(found) > 400


NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
NOISY = simplejpeg.encode_jpeg(NOISE)
DAMAGED = {
    "cut": NOISY[: len(NOISY) * 2 // 5],
    "cut, with an end": NOISY[: len(NOISY) // 2] + NOISY[-2:],
    "bytes before the end": NOISY[:-2] + bytes(9) + NOISY[-2:],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_picture_is_refused_by_the_server_and_by_a_client_that_decodes(watching, damage):
    _, server = watching
    video = JpegVideo([DAMAGED[damage]], (1, 1, 48, 64, 3))
    observation = {**smooth_observation(), "video": {"front": video, "wrist": video}}
    with client_of(server, image_encoding="jpeg") as client:
        with pytest.raises(RemoteError, match="a damaged JPEG"):
            client.get_action(observation)
        assert client.ping()
    with client_of(server) as client, pytest.raises(ProtocolError, match="a damaged JPEG"):
        client.get_action(observation)


def test_a_picture_that_announces_too_many_pixels_is_not_decoded():
    size = FRAME.index(b"\xff\xc0") + 5
    huge = FRAME[:size] + b"\x80\x00\x80\x00" + FRAME[size + 4 :]
    with pytest.raises(ProtocolError, match="32768x32768 pixels: at most"):
        images.decode_jpeg(huge)
