# SPDX-License-Identifier: Apache-2.0
"""Bytes to objects and back: arrays, the envelope of a message, pictures as JPEG."""
