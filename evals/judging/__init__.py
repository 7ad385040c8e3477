"""Is the judge right? Claims whose truth is known beforehand, put through the same loop as everybody's.

Comes in: the oracle gold, the embedded model. Goes out: how many false claims of each kind were refuted, how many true ones
supported, and how often nothing at all was found to be something. May not happen here: truth is never computed with the
code that judges (`agents.testing.experiments`, `tracer.interventions`), only with the embedded model's own forward pass.
"""
