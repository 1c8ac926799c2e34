"""The host over a measured window, as a frozen value."""
