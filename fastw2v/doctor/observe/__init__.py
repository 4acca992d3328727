"""What is noted while the user's program runs, and nothing concluded yet."""
