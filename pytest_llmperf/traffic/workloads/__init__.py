"""What a load asks: prompts, their lengths, and files that hold them."""
