"""What the pages say: a file per chapter, with its figures, their labels and captions, and its tables."""
