"""The judgement of data: is this right."""
