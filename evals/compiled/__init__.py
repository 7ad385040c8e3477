"""Compiled gold: small transformers with a planted algorithm, whose circuit is known exactly.

Comes in: a seed. Goes out: folders with a model, its exact transcoders, evidence and a `GoldSet`. May not happen here:
nothing is shared with agents, and weights are never trained.
"""
