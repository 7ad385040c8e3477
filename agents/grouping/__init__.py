"""Grouping: which features of a prompt play one role, what the group is called, and how well it hangs together.

Comes in: a graph, labels. Goes out: candidate supernodes, and their quality beside random groups. May not happen here: no
claim is made or judged.
"""
