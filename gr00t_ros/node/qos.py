# SPDX-License-Identifier: Apache-2.0
"""Quality of service by purpose."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data

# The newest image or joint state matters, a lost one does not: best effort, short queue. A
# best-effort subscription also matches reliable publishers.
SENSOR = qos_profile_sensor_data

# A command or a chunk must arrive; an old one must not queue up behind a slow reader.
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
CHUNK = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
# Each press counts: all of them must arrive.
PEDAL = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
STATUS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
INSTRUCTION = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
# The newest value is for everybody, also for those who come later.
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# robot_state_publisher publishes the description once; late subscribers receive it, too.
DESCRIPTION = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
