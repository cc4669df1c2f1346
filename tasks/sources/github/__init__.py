"""GitHub: what a repository of it holds."""
