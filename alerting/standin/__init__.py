"""A small Slack on loopback: for tests, for trying out, and for looking at what would be said."""
