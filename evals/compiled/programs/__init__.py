"""The programs that are compiled: each an algorithm, its sentences, and the network that carries it out.

Comes in: a seeded generator, which draws the tables. Goes out: a `Program`. May not happen here: no weights.
"""
