# SPDX-License-Identifier: Apache-2.0
"""Robot descriptions, and the kinematics of a chain of joints: Pinocchio does the arithmetic."""
