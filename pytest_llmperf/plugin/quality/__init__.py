"""``quality_budget``: asks the engines of a test for their next tokens once it is over, and finds the reference."""
