# SPDX-License-Identifier: Apache-2.0
"""Time: stamped samples on the way in, chunks over time on the way out, the loop between."""
