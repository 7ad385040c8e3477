"""Oracle gold: circuits of the embedded model, true by construction and checked by intervention.

Comes in: the embedded model and its causal model. Goes out: a `GoldSet`. May not happen here: nothing is shared with agents.
"""
