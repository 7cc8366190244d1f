"""One checked and frozen model for each section of a configuration."""
