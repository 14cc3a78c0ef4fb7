# SPDX-License-Identifier: Apache-2.0
"""The visualization node: chunks and images as pictures for RViz, Foxglove and others."""
