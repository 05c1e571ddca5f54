"""Open documents, wired together; their lifetimes."""
