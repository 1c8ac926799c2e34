"""The host in reports: its wire form, and sentences."""
