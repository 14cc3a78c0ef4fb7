# SPDX-License-Identifier: Apache-2.0
"""Episodes as ROS bags: what the recorder writes, and `convert`, `eval` and `diagnose` read.

One episode is one bag, a folder that `ros2 bag`, Foxglove and the `mcap` tools open:

    recordings/
      episode_000000/             a whole episode
        metadata.yaml             as rosbag2 writes it, version 8 (Humble and later read it)
        episode_000000_0.mcap
      episode_000001.truncated/   a bag like the first, up to the last moment before the disk was
                                  full or the recorder was killed
      episode_000002.partial/     under way, or left by a recorder that was killed: there is no
                                  metadata.yaml, and the MCAP file has no end; `repair` makes it
                                  `.truncated`

The MCAP file is rosbag2's own layout:

- Profile ``ros2``. Chunks hold at most a few MB and half a second; they are not compressed unless
  `record.compression` says so. Message indexes, chunk indexes and statistics are there.
- A schema is named ``sensor_msgs/msg/Image``, its encoding is ``ros2msg`` and its data is the
  message definition followed by those that it contains. A topic without a definition has encoding
  ``""`` and no data.
- A channel has a topic by its full name, encoding ``cdr``, and the metadata
  ``offered_qos_profiles`` and ``topic_type_hash``.
- A message is the serialized message as it was received. ``log_time`` is when it was received, by
  the clock of the recorder node (simulated time with `use_sim_time`); ``publish_time`` is the
  source stamp of DDS; ``sequence`` is the publisher's count, 0 where the middleware has none.
- Messages of latched topics (transient local: `/tf_static`, `robot_description`) that were
  published before the episode stand at its beginning, with the ``log_time`` of its start.
- A metadata record ``rosbag2`` with the key ``serialized_metadata``, the text of metadata.yaml,
  stands at the beginning and at the end; the last one counts.

What gr00t_ros knows of the episode, `EpisodeInfo`, is the bag's ``custom_data`` in that text. Where
metadata.yaml and the MCAP file differ, metadata.yaml counts: an outcome may be set later. Its
``config`` is a parameter file of the contract with all topics by their full names, so
`parse_contract` reads it without the recorder's namespace and remappings.
"""

import importlib.util

if importlib.util.find_spec("mcap") is None:
    raise ImportError("episodes are MCAP files: run pip install 'mcap>=1.2'")
