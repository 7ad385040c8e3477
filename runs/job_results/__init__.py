"""What came of a job: its summary, the comparison of two jobs, and exports."""
