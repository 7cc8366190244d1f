"""A source becomes a store: two passes over the rows, and sorting in pieces that fit into memory."""
