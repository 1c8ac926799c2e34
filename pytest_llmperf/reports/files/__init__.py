"""Report files: which formats there are, and how a file is written whole."""
