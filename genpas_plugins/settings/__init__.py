"""One checked, frozen object for each section of a configuration."""
