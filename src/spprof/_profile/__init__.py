"""A profile as data: tables below, questions over them, what users hold above.

Must not know how samples are taken. Only `model` asks the formats, through their registry.
"""
