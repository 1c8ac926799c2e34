"""What is checked before the first test runs: settings of engines, budgets that no test reads, unused options."""
