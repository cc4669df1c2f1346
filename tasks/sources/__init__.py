"""Where records come from: the contract of a source, and one module per kind of source."""
