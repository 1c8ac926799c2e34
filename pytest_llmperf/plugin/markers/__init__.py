"""The markers: what pytest finds on a test, and the same markers as typed functions."""
