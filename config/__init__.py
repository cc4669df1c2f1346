"""Where things are and what they are called. This package decides nothing."""
