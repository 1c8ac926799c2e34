"""Files that stay when a process ends: how they are written whole, and what is said where they cannot be written."""
