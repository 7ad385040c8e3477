"""Jobs: what was asked for, which cases that makes, what it may cost, and how it stands."""
