"""One test, measured: its run, its call phase, its engines and the relays of its app."""
