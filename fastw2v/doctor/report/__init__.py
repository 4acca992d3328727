"""What is shown to the user: findings as data, as text and as a picture."""
