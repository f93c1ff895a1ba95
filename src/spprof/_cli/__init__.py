"""The command line: `main` and a file a command; `runner` and `viewer` do what two of them need.

Must not know how samples are taken nor how formats look inside.
"""
