"""The notebook as shared document: its verbs, and what kernel messages do to its outputs. Pure."""
