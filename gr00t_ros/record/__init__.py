# SPDX-License-Identifier: Apache-2.0
"""The recorder node: what the topics of the contract carry, written to ROS bags."""
