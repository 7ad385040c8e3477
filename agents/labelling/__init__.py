"""Labels: what a feature's evidence says, how a label is scored on contexts it never saw, and when it is sent back.

Comes in: the corpus scan of a toolbox. Goes out: labels with scores, and experiments on label claims. May not happen here:
the part of the corpus that is kept for claims is read by nothing but a registered claim's test.
"""
