# SPDX-License-Identifier: Apache-2.0
"""A control node in shadow computes everything and commands nothing."""

from __future__ import annotations

from helpers import wait_until
from motion_rig import Rig
from std_msgs.msg import Bool

from gr00t_ros.msg import ControlStatus


def test_a_shadow_reports_what_would_have_been_and_commands_nothing(rig: Rig) -> None:
    rig.joints = [0.0, 0.0, 0.0]
    rig.start(mode="shadow", action__arm__max_following_error=0.3)
    rig.play(speed=0.2, horizon=400)
    status = rig.operator.wait_for_status(
        lambda s: s.state == ControlStatus.STATE_RUNNING and s.joints[0].command > 0.1, "it plays"
    )
    assert status.shadow
    assert status.joints[0].feedback == 0.0
    rig.operator.wait_for_reason("shoulder does not follow")
    status = rig.operator.wait_for_status(lambda s: s.holds > 0, "it would have come to rest")
    assert status.state == ControlStatus.STATE_HOLDING, "a shadow needs nobody"
    assert status.commands == 0
    assert len(rig.path()) == 0

    response = rig.operator.trigger("go_live")
    assert not response.success
    assert "does not follow" in response.message


def test_a_shadow_goes_live_from_where_the_robot_is(rig: Rig) -> None:
    rig.joints = [0.4, 0.4, 0.4]
    rig.start(mode="shadow")
    rig.play(start=0.0, speed=0.5, horizon=20)
    rig.operator.wait_for_status(lambda s: s.chunks_accepted == 1, "the shadow plays")
    response = rig.operator.trigger("go_live")
    assert (response.success, response.message) == (True, "live: the robot is commanded")
    rig.operator.wait_for_status(lambda s: not s.shadow, "live")
    assert len(rig.path()) == 0, "the chunk of the shadow is not played"
    rig.follow(0.4, 0.4, 0.4)
    rig.play(start=0.4, speed=0.5)
    wait_until(lambda: len(rig.path()) and rig.path()[-1, 0] > 0.6, what="it moves")
    assert rig.path()[0].tolist() == [0.4, 0.4, 0.4]

    response = rig.operator.trigger("go_shadow")
    assert response.success
    rig.operator.wait_for_status(lambda s: s.shadow, "a shadow again, once it is at rest")
    commanded = len(rig.path())
    assert (rig.path()[-3:] == rig.path()[-1]).all(), "it came to rest first"
    rig.play(start=float(rig.path()[-1, 0]), speed=0.5)
    rig.operator.wait_for_status(lambda s: s.state == ControlStatus.STATE_RUNNING, "it plays")
    assert len(rig.path()) == commanded
    rig.require_smooth()


def test_a_shadow_does_not_go_live_while_something_forbids_motion(rig: Rig) -> None:
    rig.start(mode="shadow", enable_topic="enable", enable_timeout_s=60.0)
    enable = rig.peer.create_publisher(Bool, "enable", 10)
    wait_until(enable.get_subscription_count, what="the node listens")
    rig.play(speed=0.2)
    rig.operator.wait_for_status(lambda s: s.chunks_accepted == 1, "a shadow needs no permission")
    response = rig.operator.trigger("go_live")
    assert (response.success, response.message) == (False, "the enable signal is off")
    enable.publish(Bool(data=True))
    wait_until(lambda: rig.operator.trigger("go_live").success, what="live")
