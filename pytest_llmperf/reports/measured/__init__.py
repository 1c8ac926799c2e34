"""What tests measured, whether a budget limits it or not."""
