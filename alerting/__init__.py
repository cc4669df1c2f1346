"""Incidents and their delivery: who must know, and do they. Empty until the first incident is raised."""
