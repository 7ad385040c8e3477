"""Durable runs: what an interpretation writes down on the way, so that a kill at any moment loses nothing.

Comes in: the loop's state after every step, every entry of the claim registry. Goes out: the same, when the run goes on
in another process. May not happen here: nothing is decided, and nothing is unpickled.
"""
