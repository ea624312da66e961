"""What files of weights say about themselves, read without loading them."""
