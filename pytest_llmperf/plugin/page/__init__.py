"""What only the HTML report says of a run: what failed beside budgets, how to run one test again, and history."""
