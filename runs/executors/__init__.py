"""Who works on a job's cases: leases, workers, and the processes or Ray actors that they live in."""
