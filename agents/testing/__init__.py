"""Testing: from a claim to a plan, from a plan to a measurement, from both to a verdict by rule.

Comes in: registered claims. Goes out: plans, measurements, verdicts, what the circuit does as a whole. May not happen here:
nothing is measured before its plan is fixed, and no verdict is set but by the rule that the plan names.
"""
