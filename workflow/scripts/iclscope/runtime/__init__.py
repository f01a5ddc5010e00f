"""What goes on around a job and shapes no result."""
