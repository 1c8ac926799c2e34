"""One request: how it is built, sent over a connection, and stamped."""
