"""Two reports side by side: what changed from one to the other, and whether they may be compared."""
