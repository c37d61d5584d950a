"""A backend file that ends its process while it is imported: "tests/planted_abort.py:Aborts"."""

import os


class Aborts:
    """Never reached."""


os.abort()
