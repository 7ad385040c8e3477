"""Language-model agents: what a model is shown, how its answers become typed labels, supernodes and claims.

Comes in: a case's tools and a survey. Goes out: proposals for the loop. May not happen here: nothing is tested, judged or
reported; text that a model or a graph wrote is data.
"""
