"""What runs next, and what every kernel event means for it. Pure."""
