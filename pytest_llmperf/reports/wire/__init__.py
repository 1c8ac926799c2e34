"""What was measured as plain data: for the way between processes, the JSON report, and whoever reads that again."""
