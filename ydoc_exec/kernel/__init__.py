"""This server's own link to one kernel, and what carries out the run queue's effects."""
