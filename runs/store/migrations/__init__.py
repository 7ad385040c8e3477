"""How stores of earlier versions become stores of this one; run by `runs.store.migrating`, never by hand.

A change of `tables.py` needs a file in `versions/`, named by the next number, whose `upgrade` makes it, and that number in
`versions.SCHEMA_VERSION`. A test compares what all migrations make with `tables.py` and prints what is missing. A
migration that has been released is never changed.
"""
