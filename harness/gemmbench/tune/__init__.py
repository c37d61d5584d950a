"""Searching the tile sizes: strategies that propose configs, and the tuner that measures them."""
