"""Tests of the update log."""
