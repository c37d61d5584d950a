"""gemmbench: a fair, verified race between all ways of computing a network's layers."""

__version__ = "0.1.0"
