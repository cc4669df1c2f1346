"""Telling incidents in Slack: what a message says, how it is sent, and the chart beside it."""
