"""What people read: pages, figures, the explorer of the candidates."""
