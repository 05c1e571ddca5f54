"""The document's file: loading, saving, watching."""
