"""Jenkins: jobs and their builds."""
