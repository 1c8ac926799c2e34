"""Requests and their timings, stamped at the socket."""
