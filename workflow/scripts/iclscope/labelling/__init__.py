"""Which examples to label: annotation budgets and learning curves."""
