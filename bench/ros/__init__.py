# SPDX-License-Identifier: Apache-2.0
"""What it costs to receive camera images over DDS and to build observations of them."""
