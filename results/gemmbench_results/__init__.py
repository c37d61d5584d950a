"""Where results live: the SQL store, its migrations, exports and reports.

The store never sees a backend, and only the command line opens it.
"""
