"""What a policy trains on, in closed form: nothing here samples."""
