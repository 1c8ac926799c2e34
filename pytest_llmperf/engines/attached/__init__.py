"""Notices what others ask of a server that runs already."""
