"""A source becomes a store in two passes over the rows. Sorting needs little memory."""
