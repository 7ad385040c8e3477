"""The review app: pages and an API over a store, for people who read, check and correct reports.

In: HTTP requests. Out: pages, JSON, event streams. May not happen here: no decision that `runs.access` does not allow; no
text of a report, a graph or a model on a page that is not escaped; no path from a request; nothing from another host.
"""
