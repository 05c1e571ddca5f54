"""What is built from the checkout, as a user installs it."""
