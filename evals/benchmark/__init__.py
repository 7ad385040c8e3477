"""The benchmark: agents times suites of gold circuits, run, kept, compared and shown.

Comes in: agents, gold, settings. Goes out: case results, leaderboards, pages. May not happen here: no gold reaches an agent.
"""
