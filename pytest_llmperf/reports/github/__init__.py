"""What GitHub Actions shows beside the log: errors at the lines of tests."""
