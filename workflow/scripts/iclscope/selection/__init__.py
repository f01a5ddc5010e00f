"""What a selector is worth."""
