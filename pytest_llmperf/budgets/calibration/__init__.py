"""What the noise of a budget's metric means for its limit: how often it fails a good build, and what it would find."""
