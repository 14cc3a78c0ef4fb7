# SPDX-License-Identifier: Apache-2.0
"""What all nodes of this package share."""
