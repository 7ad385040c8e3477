"""Reporting: the report's data, the checks that it must pass, and the story that is told from it alone.

Comes in: what a run of the loop found. Goes out: a checked circuit report. May not happen here: no sentence without a claim,
no number without the value that it tells.
"""
