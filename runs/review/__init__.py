"""What people say of reports: an index of the reports in a store, and reviews with everything that was done in them.

In: a report's artefacts, and acts of reviewers. Out: lists of reports, the state of a review, gold and other exports. May
not happen here: a report is never altered; nothing knows of HTTP or pages; no act is stored over another.
"""
