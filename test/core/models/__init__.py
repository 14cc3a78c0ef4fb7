# SPDX-License-Identifier: Apache-2.0
"""Tests of the real networks, on tiny checkpoints; skipped where torch or these are missing."""
