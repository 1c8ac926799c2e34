"""Report files: which formats there are."""
