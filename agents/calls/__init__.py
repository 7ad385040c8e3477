"""Calls: what was asked of a language model, what it answered, what it cost; written down before it is sent and used.

Comes in: requests and answers. Goes out: recorded answers, a ledger in numbers. May not happen here: no key is written.
"""
