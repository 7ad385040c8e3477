"""Benchmarks of the tracer: time, memory and arithmetic, on random pairs of any shape and on the embedded model.

Comes in: shapes, lengths, repeats. Goes out: a result of plain numbers that a table, a JSON document and a drawing are
made from. What may not happen here: making anything faster. The methods are measured as they are.
"""
