"""Statistics of scores: averages with intervals, paired comparisons, corrections, power.

Comes in: scores of cases. Goes out: numbers with their uncertainty. May not happen here: no score is made up for a missing one.
"""
