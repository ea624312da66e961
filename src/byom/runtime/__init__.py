"""What must run: specs of weights, fetching them, and the engines that serve them."""
