# SPDX-License-Identifier: Apache-2.0
"""Makes a LeRobot dataset of recorded bags, with the observations that the live policy node builds.

A step of the dataset is an observation at its time t0 and the action of the same time; steps follow
each other on a grid of `action_rate_hz`. What is missing, stale or skewed is left out and counted.
"""
