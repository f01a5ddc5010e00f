"""What is read off a candidate, and whether it predicts quality."""
