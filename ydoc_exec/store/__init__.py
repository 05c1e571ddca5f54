"""The update log: what was done to each document, in order, outlasting the server."""
