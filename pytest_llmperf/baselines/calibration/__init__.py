"""What several runs of one build say of the budgets of their tests, and which limits would fit."""
