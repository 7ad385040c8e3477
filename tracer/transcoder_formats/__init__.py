"""Transcoder formats: each reader turns one layout on disk into the same layers (`layers.StoredLayer`).

Comes in: a folder. Goes out: shapes, hook names and arrays that are read when they are needed. May not happen here:
nothing is computed with the weights, and nothing of a file is believed before its sizes were held against the file's.
"""
