"""What a user writes: the configuration and the task files, read and checked."""
