"""What selectors gain in pools of any size, what agrees over disjoint items, and what to ship."""
