"""One shared document and everyone looking at it."""
