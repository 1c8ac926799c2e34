"""What the terminal shows: the section of a failed test, and the summary at the end."""
