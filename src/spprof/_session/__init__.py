"""Sampling sessions of this process: starting, stopping, and what they hook into meanwhile.

Importing what `start` needs must stay cheap (tests/bench/import_cost.py): no dataclasses, typing,
inspect, pathlib or re at the top of these files. Must not know how formats look inside, nor
IPython.
"""
