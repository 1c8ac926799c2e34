"""Asks engines for their next tokens at fixed positions of a text, and compares what two of them expect."""
