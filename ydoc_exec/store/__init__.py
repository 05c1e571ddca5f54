"""The update log."""
