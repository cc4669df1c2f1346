"""Jira: the issues of a project, with their history."""
