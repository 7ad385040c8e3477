"""Scripted language models: they read a request and answer it, as a real one would, by rules that we know.

One always claims success (`adversary`), one knows the truth (`truthful`). They show what the loop makes of either. What they
are asked comes as data fences, what they answer must fit the answer schemas. No agent may import them.
"""
