"""What earlier runs measured: the store of their reports, and their history."""
