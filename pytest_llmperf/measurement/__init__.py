"""What was measured, as frozen values. Imports nothing else of the package."""
