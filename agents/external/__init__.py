"""Agents from outside: a program or a Python callable that reads a case as JSON and answers with JSON.

Comes in: one surveyed case. Goes out: its labels, supernodes, ranking and claims, as a proposer of the same loop; code
registers, tests and judges its claims. May not happen here: no code from outside runs in this process, none outlives its
case, and nothing that it writes is believed before it has been checked.
"""
