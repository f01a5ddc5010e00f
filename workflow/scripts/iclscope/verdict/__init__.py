"""What the study answers, by declared rules, read from tables alone."""
