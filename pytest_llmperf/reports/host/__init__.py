"""The host in reports, in words."""
