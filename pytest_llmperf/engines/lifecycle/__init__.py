"""Servers: started, found again, shared between processes, and ended with all their children."""
