"""What is concluded: the causes of missing and of useless gradients."""
