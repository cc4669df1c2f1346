"""Agreement with Apache DevLake: its own test cases, recorded responses in, rows of its domain model out."""
