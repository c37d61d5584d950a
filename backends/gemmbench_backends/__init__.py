"""The backends shipped with gemmbench, one module or folder each.

A backend knows its library and its kernel; it never sees the store, the clock or the suite.
"""
