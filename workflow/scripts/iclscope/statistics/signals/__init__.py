"""What holds of a signal where items are a sample too, families span a study and quality is noisy."""
